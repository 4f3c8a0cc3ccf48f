package processor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/logs"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// Errors that stop a partition for good, or a caller who waits for one.
var (
	// ErrForeignLog: the store was made from another log than the one that is read.
	ErrForeignLog = errors.New("processor: the checkpoint belongs to another log")
	// ErrLogShorter: the log ends before the checkpoint, so it has lost events or was created again.
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

// WaitError is a wait for a position that ended before the position was reached. It
// wraps the cause, which is that of the caller's context, and the last error.
type WaitError struct {
	Partition       int
	Wanted, Reached uint64 // positions of the log, as stored
	LastHeard       string // the state of the partition, or the last answer of its owner
	LastError       error  // what the partition tries again; nil: nothing, or it is not known
	Cause           error
}

// Error names the partition, both positions, and what was last heard.
func (e *WaitError) Error() string {
	text := fmt.Sprintf("processor: partition %d: position %d is not stored, it is at %d: %v; last heard: %s", e.Partition, e.Wanted, e.Reached, e.Cause, e.LastHeard)
	if e.LastError != nil {
		text += ": " + e.LastError.Error()
	}
	return text
}

// Unwrap returns the cause and the last error.
func (e *WaitError) Unwrap() []error {
	if e.LastError == nil {
		return []error{e.Cause}
	}
	return []error{e.Cause, e.LastError}
}

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

// LogShorterError says where the log ends. It wraps [ErrLogShorter] and
// [ingest.ErrLogDamaged].
type LogShorterError struct {
	Partition       int
	Checkpoint, End uint64 // positions
	Bucket          string // that the snapshots of position Checkpoint are in; empty: the store has it
}

// Error names both positions, and says what an operator can do.
func (e *LogShorterError) Error() string {
	if e.Bucket != "" {
		return fmt.Sprintf("%v: partition %d: its snapshots are of position %d, but the log's last is %d (hint: the log was restored from an older backup or lost its tail; bring the newer log back, or 'holdmetrics log repair' names what is lost, and restores it from a backup; if the log is whole, delete the stream KV_%s, which is made again)",
			ErrLogShorter, e.Partition, e.Checkpoint, e.End, e.Bucket)
	}
	return fmt.Sprintf("%v: partition %d: applied up to position %d, but the log's last is %d (hint: the log was restored from an older backup or lost its tail; bring the newer log back, or 'holdmetrics log repair' names what is lost, and restores it from a backup)",
		ErrLogShorter, e.Partition, e.Checkpoint, e.End)
}

// Unwrap gives [ErrLogShorter] and [ingest.ErrLogDamaged].
func (e *LogShorterError) Unwrap() []error { return []error{ErrLogShorter, ingest.ErrLogDamaged} }

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// lasting reports whether trying again cannot help.
func lasting(err error) bool {
	for _, target := range []error{
		projection.ErrFenced, projection.ErrCorrupt, projection.ErrClosed, projection.ErrBatch, projection.ErrForeign,
		projection.ErrMetaFixed, projection.ErrRefused, hold.ErrCorrupt, lease.ErrLost, lease.ErrConfig,
		ErrForeignLog, ErrLogShorter, ingest.ErrLogDamaged,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// retry calls f until it succeeds, fails for good, or ctx ends, whose error it
// then returns. The pauses grow from 50 ms to 5 s. The first failure is logged,
// and the success that follows one; of those that fail in the same, see logs.Outages.
func retry(ctx context.Context, log *zap.Logger, outages *logs.Outages, what string, f func(context.Context) error) error {
	pauses := backoff.Backoff{First: retryFirst, Most: retryMost}
	failures := 0
	defer func() {
		if failures > 0 {
			outages.GivenUp(what, failures)
		}
	}()
	for ; ; failures++ {
		err := f(ctx)
		switch {
		case err == nil:
			if failures > 0 {
				outages.Recovered(log, what, failures)
				failures = 0
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case lasting(err):
			return err
		case failures == 0:
			outages.Failed(log, what, err)
		}
		if err := pauses.Wait(ctx); err != nil {
			failures++
			return err
		}
	}
}
