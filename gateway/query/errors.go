package query

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrStale says that the store did not reach the position of a read in time.
	ErrStale = errors.New("gateway: the store is behind the log")
	// ErrDraining says that the gateway is being stopped.
	ErrDraining = errors.New("gateway: the server is being stopped; watch again")
	// ErrNoStore says that this gateway has no store, and the answer is only there.
	ErrNoStore = errors.New("gateway: this gateway has no store to answer from (hint: give it the database that the workers write to, MONGODB_URL; what workers keep with --store embedded can be read by nobody else)")
	// ErrUnavailable says that the log, the snapshots or the processor does not answer.
	ErrUnavailable = errors.New("gateway: not available")
)

// NoPartition is the partition of a position that the log does not have.
const NoPartition = -1

// StaleError names a position that was waited for and did not come. It matches ErrStale.
type StaleError struct {
	Partition int // or NoPartition
	Position  uint64
	Reached   uint64 // how far the log is, or what answers for the partition
	Waited    time.Duration
	Heard     string // what was last heard of the partition; may be empty
}

// Error is one line with a hint.
func (e *StaleError) Error() string {
	if e.Partition == NoPartition {
		return fmt.Sprintf("gateway: the log did not get to position %d within %v, it is at %d (hint: is it a position of this log? ask again, or with a smaller `after`)",
			e.Position, e.Waited.Round(time.Millisecond), e.Reached)
	}
	heard := ""
	if e.Heard != "" {
		heard = "; last heard: " + e.Heard
	}
	return fmt.Sprintf("%v: position %d of partition %d was not applied within %v, it is at %d%s (hint: is a worker running, and is that position in the log? ask again, or with a smaller `after`)",
		ErrStale, e.Position, e.Partition, e.Waited, e.Reached, heard)
}

// Unwrap gives the sentinel.
func (e *StaleError) Unwrap() error { return ErrStale }

// unavailable names what does not answer.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}
