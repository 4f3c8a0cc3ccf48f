package projection

import (
	"context"
	"errors"
	"fmt"

	"holdmetrics/hold"
)

// Names of the values that every store is given when it is made (see [Store.SetMeta]).
const (
	MetaLogID      = "log_id"     // id of the log that the store was made from
	MetaPartitions = "partitions" // number of partitions of that log, decimal
	MetaPolicy     = "policy"     // default overlap policy, as hold.ParsePolicy reads it
	MetaRules      = "rules"      // version of the rules by which the store counts; hold.NoRulesVersion: none
	MetaGeneration = "generation" // which generation it is of, where it is not the first: its name and when it was asked for
)

// PairKey names a pair: one token with one holder.
type PairKey struct{ Holder, Token string }

// Compare orders pairs by holder, then token, both by bytes.
func (k PairKey) Compare(o PairKey) int {
	switch {
	case k.Holder < o.Holder:
		return -1
	case k.Holder > o.Holder:
		return 1
	case k.Token < o.Token:
		return -1
	case k.Token > o.Token:
		return 1
	}
	return 0
}

// Checkpoint says how far a partition of the log is in the store.
type Checkpoint struct {
	LogID    string // id of the log that Position belongs to
	Position uint64 // stream sequence of the last message applied
	Epoch    uint64 // of the owner that wrote it
	LogTime  int64  // the log's own time of that message, unix nanoseconds
	Events   uint64 // events applied since the store was made
	Rejected uint64 // events refused since the store was made
	Horizon  int64  // ns: what was held before is final, at this position and later; 0: nothing is
	Swept    int64  // the horizon up to which all pairs are sealed

	// Hash is that of the message at Position, as ingest.HashOf gives it; 0: not known, of
	// a checkpoint that an older program wrote.
	Hash uint64
	// Messages is how many messages of the log were applied since the store was made; 0 at
	// a position that is not: not known, as Hash.
	Messages uint64
}

// PairRecord is a pair as it is stored. A store keeps either pages or facts of
// it, so a reader calls Open and looks at neither. Of a large pair ([hold.IsRoot])
// a store that reads pages gives the root only, however many pages it has.
type PairRecord struct {
	Key     PairKey
	Policy  hold.Policy
	Figures hold.Figures
	Pages   []hold.Page // in no order; a store that keeps pages
	Facts   []hold.Fact // in no order; a store that keeps facts
	Sealed  []byte      // of such a store: what stands for facts that were sealed, of which some may be among Facts
	More    hold.Pages  // reads further pages of a large pair: of a record that Load gave, as they are when they are read
}

// HolderRecord is the sum of a holder's pairs.
type HolderRecord struct {
	Holder    string
	Figures   hold.Figures
	UpdatedAt int64  // the log's time of the last event applied, unix nanoseconds; of the run's history (S10.2)
	Position  uint64 // of the log, of that event
}

// LoggedFact is a fact with the position at which the log first states it. The position
// depends only on the log, not on flushes or restarts. So it shows what was known at a
// position of the log.
type LoggedFact struct {
	hold.Fact
	Position uint64 // of the log, of the first event that states the fact
	LogTime  int64  // the log's time of that event, unix nanoseconds
}

// PairChange is what a flush writes of one pair.
//
// Facts are new since the pair's last flush. An interrupted flush, one without a
// checkpoint, may have written them already. Pages are the pages that changed; a page
// with empty Data is removed. A store keeps either facts or pages, and ignores the
// other (Capabilities.IgnoresFacts).
//
// Sealed belongs to the facts. It stands for the facts that were sealed, in the form
// that [hold.ReadSealedFacts] reads. Nil means no change. The log decides what can be
// sealed, so a value that was written at one position is valid at every later position,
// whichever owner wrote it. The value with the greatest count is in force.
type PairChange struct {
	Key     PairKey
	Policy  hold.Policy
	Figures hold.Figures
	Facts   []LoggedFact
	Sealed  []byte
	Pages   []hold.Page
}

// Batch is one flush of one partition. No pair and no holder occurs in it
// twice. The store keeps no reference to it once Flush has returned.
type Batch struct {
	Partition  int
	Pairs      []PairChange
	Holders    []HolderRecord
	Checkpoint Checkpoint
}

// Reader is the part of a store that gateways use. It is safe for concurrent use.
//
// Every method returns ctx's error if ctx ends first. Other errors wrap [ErrCorrupt] if
// the data is damaged, and [ErrClosed] if the store is closed.
type Reader interface {
	// View opens a view of one partition. It must be closed, and soon: what it
	// pins is kept on disk until then.
	View(ctx context.Context, partition int) (PartitionView, error)
	// Holder returns a holder's figures as last flushed, or [ErrNotFound] if there are none.
	Holder(ctx context.Context, partition int, holder string) (*HolderRecord, error)
	// Checkpoint returns the checkpoint of the partition, or false if it was never flushed.
	Checkpoint(ctx context.Context, partition int) (Checkpoint, bool, error)
	// Load reads pairs, in the order of keys, nil if there is none. One call
	// serves a whole batch. The records are the caller's to keep; the ends of ctx
	// and of the further pages of large pairs have nothing to do with each other.
	Load(ctx context.Context, partition int, keys []PairKey) ([]*PairRecord, error)
	// Ping returns an error unless the store can be read and written.
	Ping(ctx context.Context) error
}

// PartitionView is a partition as it was at one checkpoint: the flush that wrote
// that checkpoint and those before it are in it, no later one is. So an answer
// can say `applied_through` for exactly what it read, whatever is flushed
// meanwhile. It is for one goroutine.
//
// A record given to a callback, with all that it refers to, is valid until the
// callback returns; take what is needed out of it, or Clone it. An error of the
// callback ends the walk and is returned as it is.
//
// Where facts that the view needs were sealed since it was opened, and removed, its
// methods return [ErrOutdated]: open another one.
type PartitionView interface {
	// Checkpoint of this view; false where the partition was never flushed.
	Checkpoint() (Checkpoint, bool)
	// Holder reads one holder's figures; [ErrNotFound] where there are none.
	Holder(ctx context.Context, holder string) (*HolderRecord, error)
	// Pairs walks one holder's pairs by token.
	Pairs(ctx context.Context, holder string, fn func(*PairRecord) error) error
	// AllPairs walks all pairs by holder, then token.
	AllPairs(ctx context.Context, fn func(*PairRecord) error) error
	// PairsAfter walks the pairs behind a key by holder, then token, up to most of them;
	// the zero key is before all. It reports whether there may be more. A reader that
	// waits between two calls pins nothing but the view.
	PairsAfter(ctx context.Context, after PairKey, most int, fn func(*PairRecord) error) (more bool, err error)
	// Close releases the view. Closing twice is harmless.
	Close() error
}

// Capabilities are what a [Store] does beyond what every store does. They do not
// change while the store is open.
type Capabilities struct {
	// AtomicFlush: a flush is seen whole or not at all. Without it, facts and figures
	// may be ahead of their checkpoint after a crash.
	AtomicFlush bool
	// ReadsPages: the store keeps pages, and reads some of a large pair's, so that
	// nobody has to read them all (Page and Pages).
	ReadsPages bool
	// IgnoresFacts: the store keeps the pages of a change alone, which need not come
	// with facts.
	IgnoresFacts bool
	// Claims: several processes may have the store open, and their owners of a
	// partition take turns (Claim).
	Claims bool
	// RemovesSealed: the store keeps facts, which cannot all go in the moment in which
	// what was sealed takes their place (RemoveSealed).
	RemovesSealed bool
	// SealedIDs is the most hold_ids of one pair of which something may be sealed. 0: any
	// number.
	SealedIDs int
}

// ErrUnsupported is returned by methods of a [Store] that it has no capability for.
var ErrUnsupported = fmt.Errorf("projection: the store cannot do that: %w", errors.ErrUnsupported)

// PageReader reads single pages of large pairs as they were flushed last. A view's
// records bring the pages of the view.
//
// The pages of a pair belong together: those of one flush become readable all at
// once, or not at all. A pair finds out when they do not ([hold.ErrCorrupt]).
type PageReader interface {
	// Page reads one page; nil if there is none.
	Page(ctx context.Context, partition int, pair PairKey, page []byte) ([]byte, error)
	// Pages walks the pages whose keys begin with prefix, which is not empty, in
	// the order of their keys, until fn returns false. A page is valid until fn returns.
	Pages(ctx context.Context, partition int, pair PairKey, prefix []byte, fn func(hold.Page) bool) error
}

// Store keeps the projections of all partitions. It is safe for concurrent use;
// one partition has one writer at a time (its owner), and flushes of different
// partitions do not wait for each other.
type Store interface {
	Reader

	// Capabilities returns what the store can do. Methods that need a capability which
	// it does not have return [ErrUnsupported].
	Capabilities() Capabilities

	// LoadHolders reads holders, in the order given, nil if there is none.
	LoadHolders(ctx context.Context, partition int, holders []string) ([]*HolderRecord, error)

	// HolderPairs walks the figures of one holder's pairs by token, without
	// reading the pairs themselves, however large they are.
	HolderPairs(ctx context.Context, partition int, holder string, fn func(PairKey, hold.Figures) error) error

	// Flush writes a batch and returns when it is durable.
	//
	// It is guarded: where the stored epoch is greater than the batch's, the
	// error is a [*FencedError] and nothing is changed. After any other error the
	// batch may be written in part, facts and figures before the checkpoint,
	// never the other way round; writing it again is harmless. A store that is
	// atomic leaves the previous state whole.
	Flush(ctx context.Context, b *Batch) error

	// ChangedSince walks the holders whose Position is greater than position,
	// by holder. The record is valid until the callback returns. The walk sees
	// every holder that was changed when it began; what is flushed meanwhile it
	// may or may not see.
	ChangedSince(ctx context.Context, partition int, position uint64, fn func(*HolderRecord) error) error

	// Holders walks the holders of a partition behind one, by holder; "" is before
	// all. What is flushed meanwhile it may or may not see; each record is one that
	// some checkpoint had. The record is valid until the callback returns.
	Holders(ctx context.Context, partition int, after string, fn func(*HolderRecord) error) error

	// KeysAfter returns the keys of the pairs after a key, in their order, up to most
	// of them; the zero key is before all. It may leave out, or have, those that were
	// first written when it was called.
	KeysAfter(ctx context.Context, partition int, after PairKey, most int) ([]PairKey, error)

	// PageReader needs Capabilities.ReadsPages.
	PageReader

	// Claim makes the caller the partition's owner of an epoch and returns where it
	// goes on: the checkpoint, with that epoch; false if the partition was never
	// flushed. From then on no owner of a smaller epoch can write a checkpoint.
	// Where one of a greater epoch has claimed or written, the error is a
	// [*FencedError] and nothing is changed. It needs Capabilities.Claims.
	Claim(ctx context.Context, partition int, epoch uint64) (Checkpoint, bool, error)

	// RemoveSealed removes some of the facts that what was sealed stands for, as of the
	// checkpoint, and reports whether there may be more to remove. What it has not got
	// to, because it was not called or failed, is remembered, and harmless. It is for
	// the partition's owner, and not while it reads. It needs
	// Capabilities.RemovesSealed.
	RemoveSealed(ctx context.Context, partition int) (more bool, err error)

	// Meta reads the named values that are fixed for the life of the store.
	Meta(ctx context.Context) (map[string]string, error)

	// SetMeta fixes named values. One that is fixed already stays; where it was
	// fixed to something else the error is a [*MetaError] and nothing is changed.
	SetMeta(ctx context.Context, values map[string]string) error

	// Close flushes what the store buffers and gives up its resources. Calls
	// after it return [ErrClosed]. No call may be under way, no view open.
	Close() error
}
