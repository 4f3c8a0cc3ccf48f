package projection

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that callers decide on. What is returned wraps one of these and says
// more, with a hint where an operator can do something.
var (
	// ErrNotFound: there is no record of that holder.
	ErrNotFound = errors.New("projection: not found")
	// ErrFenced: another owner of the partition, with a greater epoch, has written. Stop, do not retry.
	ErrFenced = errors.New("projection: fenced off by a newer owner")
	// ErrLocked: another process holds the data directory.
	ErrLocked = errors.New("projection: data directory is in use")
	// ErrForeign: the directory or bucket holds something that this program did not make, or made in another version.
	ErrForeign = errors.New("projection: not a store of this program")
	// ErrCorrupt: what is stored cannot be read back.
	ErrCorrupt = errors.New("projection: stored data is damaged")
	// ErrMetaFixed: a named value was fixed when the store was made, to something else.
	ErrMetaFixed = errors.New("projection: value is fixed")
	// ErrClosed: the store, view or bucket was closed, or has failed for good.
	ErrClosed = errors.New("projection: closed")
	// ErrUnavailable: the store cannot be reached, or cannot write just now. Trying again may help.
	ErrUnavailable = errors.New("projection: store is unavailable")
	// ErrRefused: the store was reached and said no. Trying again does not help, an operator does.
	ErrRefused = errors.New("projection: store refuses")
	// ErrOutdated: the view is of a checkpoint whose facts were sealed since, and are gone. Open another one.
	ErrOutdated = errors.New("projection: the view is outdated")
	// ErrBatch: the caller's batch contradicts itself. Nothing of it was written.
	ErrBatch = errors.New("projection: bad batch")
)

// FencedError says which epochs met. It wraps [ErrFenced].
type FencedError struct {
	Partition int
	Stored    uint64 // epoch of the newer owner
	Mine      uint64 // epoch of the batch that was refused
}

// Error names partition and epochs, and says what the owner is to do.
func (e *FencedError) Error() string {
	return fmt.Sprintf("%v: partition %d is at epoch %d, the batch is of epoch %d; stop this owner, the newer one carries on",
		ErrFenced, e.Partition, e.Stored, e.Mine)
}

// Unwrap gives [ErrFenced].
func (e *FencedError) Unwrap() error { return ErrFenced }

// MetaError says which value differs. It wraps [ErrMetaFixed].
type MetaError struct {
	Name, Stored, Wanted string
}

// Error names the value, as it is stored and as it was wanted, and says what an operator can do.
func (e *MetaError) Error() string {
	if e.Name == MetaRules {
		return fmt.Sprintf("%v: the store counts by rules %s, not by %s; new rules build a new generation (`holdmetrics rebuild --rules FILE`), the stored ones go on here",
			ErrMetaFixed, e.Stored, e.Wanted)
	}
	if e.Name == MetaLogID {
		return fmt.Sprintf("%v: the store was made from the log %s, and the stream of the log is %s: it was deleted and made again, or is another log's; restore a backup of the first one, or use another data directory or database",
			ErrMetaFixed, e.Stored, e.Wanted)
	}
	return fmt.Sprintf("%v: %s is %q since the store was made, not %q; use the stored value, or another data directory or database",
		ErrMetaFixed, e.Name, e.Stored, e.Wanted)
}

// Unwrap gives [ErrMetaFixed].
func (e *MetaError) Unwrap() error { return ErrMetaFixed }

// WaitError tells what a wait for a position had when its context ended. It wraps the
// context's error.
type WaitError struct {
	Partition int
	Wanted    uint64 // position of the log
	Reached   uint64 // position that the view has all of

	LastSequence uint64    // in the bucket, of the last message that came; 0: none has
	LastStored   time.Time // when the broker stored it
	LastHeard    time.Time // when it came
	Watch        error     // what keeps the view from following the bucket; nil while it follows
	Err          error     // of the context
}

// Error names partition and positions, and what was last heard of the bucket.
func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "projection: wait for position %d of partition %d, which is at %d: %v", e.Wanted, e.Partition, e.Reached, e.Err)
	if e.LastSequence == 0 {
		b.WriteString("; the bucket has sent nothing yet")
	} else {
		fmt.Fprintf(&b, "; the bucket's last message was %d, stored at %s, received at %s",
			e.LastSequence, e.LastStored.UTC().Format(time.RFC3339Nano), e.LastHeard.UTC().Format(time.RFC3339Nano))
	}
	if e.Watch != nil {
		fmt.Fprintf(&b, "; %v", e.Watch)
	}
	return b.String()
}

// Unwrap gives the context's error.
func (e *WaitError) Unwrap() error { return e.Err }
