package generation

import (
	"errors"
	"fmt"
	"time"
)

// ErrStalled: a wait for a generation ended because nothing moved any more. See
// [StalledError].
var ErrStalled = errors.New("generation: no progress")

// StalledError is what a wait for a partition had come to when it gave up.
type StalledError struct {
	Generation string
	Partition  int
	Wanted     uint64        // position that was waited for
	Reached    uint64        // position that the partition had reached
	For        time.Duration // how long it did not move
	Heard      string        // what its worker reported last; empty: nothing
}

// Error implements error.
func (e *StalledError) Error() string {
	heard := e.Heard
	if heard == "" {
		heard = "nothing: check that serve, or a worker of this version, runs"
	}
	return fmt.Sprintf("generation %s, partition %d: no progress for %v at position %d, wanted %d: last heard: %s",
		e.Generation, e.Partition, e.For.Round(100*time.Millisecond), e.Reached, e.Wanted, heard)
}

// Is makes the error match [ErrStalled].
func (e *StalledError) Is(target error) bool { return target == ErrStalled }
