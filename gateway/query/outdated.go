package query

import (
	"errors"

	"holdmetrics/projection"
)

// outdatedTries is how often a read whose view is outdated is tried. That a store
// removes what a view needs happens once for a pair and horizon, in the moment in
// which the pair is sealed.
const outdatedTries = 8

// afresh runs a read, and runs it again, with views of its own, where its views were
// outdated before it had given anything. given is called with each thing that it
// gives.
func afresh(read func(given func()) error) error {
	for tries := 1; ; tries++ {
		begun := false
		err := read(func() { begun = true })
		if !errors.Is(err, projection.ErrOutdated) || begun || tries == outdatedTries {
			return err
		}
	}
}

// givenTo notes what is emitted.
func givenTo[T any](given func(), emit func(T) error) func(T) error {
	return func(t T) error {
		given()
		return emit(t)
	}
}
