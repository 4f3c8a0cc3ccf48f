package query

import (
	"context"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// Log is the end of the log. *ingest.Log is one. Where it has a method
// Horizon() int64 that gives anything but 0, reads as of times before are refused; where
// it has Importing(context.Context) error, errors of slow requests name the import;
// and where it has Behind as [ingest.Log] does, status counts what no owner counts.
type Log interface {
	Partitions() int
	End(ctx context.Context, partition int) (uint64, error)
	LastPosition(ctx context.Context) (uint64, error)
	// Behind counts what a partition, or [ingest.Everywhere], has behind a position.
	Behind(ctx context.Context, partition int, position uint64) (ingest.Behind, error)
	// Importing returns an error that matches [ingest.ErrUnfinishedImport] while an import
	// fills the log.
	Importing(ctx context.Context) error
	// Horizon is the latest horizon up to which the log is sealed, in nanoseconds; 0: none.
	Horizon() int64
}

// Snapshots are the current HoldStats of all holders. *projection.View is one.
type Snapshots interface {
	// Wait returns when the first load is complete.
	Wait(ctx context.Context) error
	// All calls fn for every snapshot by key, until fn says false. A value is a
	// HoldStat as protobuf.
	All(fn func(key string, value []byte) bool)
	// Len is the number of holders.
	Len() int
	// Lookup is the current snapshot of a holder's key.
	Lookup(key string) (projection.Change, bool)
	// IsDamaged reports whether the latest snapshot of a holder's key cannot be read.
	IsDamaged(key string) bool
	// Each is All, with when each snapshot came.
	Each(fn func(projection.Change) bool)
	// AppendChanges, AppendLatest, Changed and Last follow what changes, as [projection.View] has it.
	AppendChanges(dst []projection.Change, after uint64, limit int) (changes []projection.Change, next uint64)
	AppendLatest(dst []projection.Change, after, before uint64, limit int) (changes []projection.Change, next, point uint64, more bool)
	Changed() <-chan struct{}
	Last() uint64
	// Freeze keeps the snapshots as they are until Thaw or Close; Close, for good.
	// Frozen or closed, they can be read.
	Freeze()
	Thaw()
	Close() error
	// Reached is how far the snapshots of a partition are, and WaitPosition returns
	// when they are at a position.
	Reached(partition int) projection.Reached
	WaitPosition(ctx context.Context, partition int, position uint64) error
}
