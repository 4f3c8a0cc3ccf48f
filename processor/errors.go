package processor

import (
	"errors"
	"fmt"
)

// Errors that stop a partition for good, or a caller who waits for one.
var (
	// ErrForeignLog: the store was made from another log than the one that is read.
	ErrForeignLog = errors.New("processor: the checkpoint belongs to another log")
	// ErrLogShorter: the log ends before the checkpoint, so it has lost events or was made anew.
	ErrLogShorter = errors.New("processor: the log is shorter than the checkpoint")
	// ErrStopped: the worker, or the partition, has stopped or was never started.
	ErrStopped = errors.New("processor: stopped")
	// ErrUntil: the position lies beyond the last one that is applied.
	ErrUntil = errors.New("processor: beyond the end of what is applied")
	// ErrAllFailed: no partition is left that could move.
	ErrAllFailed = errors.New("processor: all partitions failed")
	// ErrNotFlushed: the worker stopped before the store had taken what was
	// applied. Nothing is lost: the next start applies it again.
	ErrNotFlushed = errors.New("processor: stopped before everything was flushed")
	// ErrConfig: the worker was asked for something that cannot be run.
	ErrConfig = errors.New("processor: bad configuration")
)

// AllFailedError is the end of a worker of which no partition is left. It wraps
// [ErrAllFailed] and the error of each partition.
type AllFailedError struct {
	Last error   // of the partition that failed last; the others were logged as they failed
	All  []error // in the order of Config.Partitions
}

// Error says the last error only, since the others were said when they came up.
func (e *AllFailedError) Error() string { return fmt.Sprintf("%v: %v", ErrAllFailed, e.Last) }

// Unwrap gives [ErrAllFailed] and the error of each partition.
func (e *AllFailedError) Unwrap() []error { return append([]error{ErrAllFailed}, e.All...) }

// ForeignLogError says which logs differ. It wraps [ErrForeignLog].
type ForeignLogError struct {
	Partition      int
	Checkpoint, ID string // ids of the checkpoint's log and of the one that is read
}

// Error names both logs, and says what an operator can do.
func (e *ForeignLogError) Error() string {
	return fmt.Sprintf("%v: partition %d: the store was made from log %s, this is log %s (hint: give the store its own log back, or start with an empty store, which is rebuilt from this log)",
		ErrForeignLog, e.Partition, e.Checkpoint, e.ID)
}

// Unwrap gives [ErrForeignLog].
func (e *ForeignLogError) Unwrap() error { return ErrForeignLog }

// LogShorterError says where the log ends. It wraps [ErrLogShorter].
type LogShorterError struct {
	Partition       int
	Checkpoint, End uint64 // positions
}

// Error names both positions, and says what an operator can do.
func (e *LogShorterError) Error() string {
	return fmt.Sprintf("%v: partition %d: applied up to position %d, but the log's last is %d (hint: the log was restored from an older backup or lost its tail; bring the newer log back, or start with an empty store, which is rebuilt from this log)",
		ErrLogShorter, e.Partition, e.Checkpoint, e.End)
}

// Unwrap gives [ErrLogShorter].
func (e *LogShorterError) Unwrap() error { return ErrLogShorter }
