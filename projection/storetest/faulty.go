package storetest

import (
	"context"
	"errors"
	"sync"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Op names a call of a store.
type Op string

// The calls that a [Faulty] asks its hook about. OpAfterFlush is asked when the
// flush was written: an error there is an answer that got lost.
const (
	OpView         Op = "View"
	OpHolder       Op = "Holder"
	OpCheckpoint   Op = "Checkpoint"
	OpPing         Op = "Ping"
	OpLoad         Op = "Load"
	OpPage         Op = "Page"
	OpPages        Op = "Pages"
	OpLoadHolders  Op = "LoadHolders"
	OpHolderPairs  Op = "HolderPairs"
	OpFlush        Op = "Flush"
	OpAfterFlush   Op = "AfterFlush"
	OpChangedSince Op = "ChangedSince"
	OpHolders      Op = "Holders"
	OpKeysAfter    Op = "KeysAfter"
	OpRemoveSealed Op = "RemoveSealed"
	OpClaim        Op = "Claim"
	OpMeta         Op = "Meta"
	OpSetMeta      Op = "SetMeta"
)

// ErrPart is what a hook answers OpFlush with, wrapped or not, so that the store
// takes a part of the batch before the flush fails: as many of its records as
// [Faulty.SetPart] says, and not its checkpoint.
var ErrPart = errors.New("storetest: a part of the batch was written")

// Hook decides about one call before it is made: it returns the error that the
// call is to fail with, or nil; and it may block, which stalls the call. It is
// called from the goroutines of the callers. A hook that stalls listens to ctx.
type Hook func(ctx context.Context, op Op, partition int) error

// Faulty is a store that fails and stalls on command.
type Faulty struct {
	projection.Store // what it stands on

	mu    sync.Mutex
	hook  Hook
	part  func(records int) int
	calls map[Op]int
}

var _ projection.Store = (*Faulty)(nil)

// NewFaulty wraps a store, and passes every call on until a hook is set.
func NewFaulty(s projection.Store) *Faulty { return &Faulty{Store: s, calls: map[Op]int{}} }

// SetHook asks hook about all calls from now on; nil: no one.
func (f *Faulty) SetHook(hook Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// SetPart says how many of a batch's records a flush writes that fails with
// [ErrPart]; nil: half of them.
func (f *Faulty) SetPart(part func(records int) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.part = part
}

// FailNext makes the next n calls of op fail with err.
func (f *Faulty) FailNext(op Op, n int, err error) {
	var mu sync.Mutex
	f.SetHook(func(_ context.Context, called Op, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		if called != op || n == 0 {
			return nil
		}
		n--
		return err
	})
}

// Stall makes calls of op wait until release is called or their context ends.
// Entered gets a value for each call that waits, unless nobody receives.
func (f *Faulty) Stall(op Op) (entered <-chan struct{}, release func()) {
	in, out := make(chan struct{}), make(chan struct{})
	f.SetHook(func(ctx context.Context, called Op, _ int) error {
		if called != op {
			return nil
		}
		select {
		case in <- struct{}{}:
		case <-out:
		case <-ctx.Done():
		}
		select {
		case <-out:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return in, sync.OnceFunc(func() { close(out) })
}

// Calls is how often op was called.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *Faulty) ask(ctx context.Context, op Op, partition int) error {
	f.mu.Lock()
	hook := f.hook
	f.calls[op]++
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op, partition)
}

// View asks the hook, then the store. So do the others.
func (f *Faulty) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	if err := f.ask(ctx, OpView, partition); err != nil {
		return nil, err
	}
	return f.Store.View(ctx, partition)
}

// Holder asks the hook, then the store.
func (f *Faulty) Holder(ctx context.Context, partition int, holder string) (*projection.HolderRecord, error) {
	if err := f.ask(ctx, OpHolder, partition); err != nil {
		return nil, err
	}
	return f.Store.Holder(ctx, partition, holder)
}

// Checkpoint asks the hook, then the store.
func (f *Faulty) Checkpoint(ctx context.Context, partition int) (projection.Checkpoint, bool, error) {
	if err := f.ask(ctx, OpCheckpoint, partition); err != nil {
		return projection.Checkpoint{}, false, err
	}
	return f.Store.Checkpoint(ctx, partition)
}

// Ping asks the hook, then the store.
func (f *Faulty) Ping(ctx context.Context) error {
	if err := f.ask(ctx, OpPing, -1); err != nil {
		return err
	}
	return f.Store.Ping(ctx)
}

// Load asks the hook, then the store.
func (f *Faulty) Load(ctx context.Context, partition int, keys []projection.PairKey) ([]*projection.PairRecord, error) {
	if err := f.ask(ctx, OpLoad, partition); err != nil {
		return nil, err
	}
	return f.Store.Load(ctx, partition, keys)
}

// Page asks the hook, then the store.
func (f *Faulty) Page(ctx context.Context, partition int, pair projection.PairKey, page []byte) ([]byte, error) {
	if err := f.ask(ctx, OpPage, partition); err != nil {
		return nil, err
	}
	return f.Store.Page(ctx, partition, pair, page)
}

// Pages asks the hook, then the store.
func (f *Faulty) Pages(ctx context.Context, partition int, pair projection.PairKey, prefix []byte, fn func(hold.Page) bool) error {
	if err := f.ask(ctx, OpPages, partition); err != nil {
		return err
	}
	return f.Store.Pages(ctx, partition, pair, prefix, fn)
}

// LoadHolders asks the hook, then the store.
func (f *Faulty) LoadHolders(ctx context.Context, partition int, holders []string) ([]*projection.HolderRecord, error) {
	if err := f.ask(ctx, OpLoadHolders, partition); err != nil {
		return nil, err
	}
	return f.Store.LoadHolders(ctx, partition, holders)
}

// HolderPairs asks the hook, then the store.
func (f *Faulty) HolderPairs(ctx context.Context, partition int, holder string, fn func(projection.PairKey, hold.Figures) error) error {
	if err := f.ask(ctx, OpHolderPairs, partition); err != nil {
		return err
	}
	return f.Store.HolderPairs(ctx, partition, holder, fn)
}

// Flush asks the hook, then the store, then the hook again.
func (f *Faulty) Flush(ctx context.Context, b *projection.Batch) error {
	if err := f.ask(ctx, OpFlush, b.Partition); err != nil {
		if errors.Is(err, ErrPart) {
			return errors.Join(err, f.flushPart(ctx, b))
		}
		return err
	}
	if err := f.Store.Flush(ctx, b); err != nil {
		return err
	}
	return f.ask(ctx, OpAfterFlush, b.Partition)
}

// flushPart writes some of a batch in the order that a store without transactions
// has to keep: every pair with its facts before any figures of holders, and the
// checkpoint last, which is not reached.
func (f *Faulty) flushPart(ctx context.Context, b *projection.Batch) error {
	f.mu.Lock()
	share := f.part
	f.mu.Unlock()
	records := len(b.Pairs) + len(b.Holders)
	n := records / 2
	if share != nil {
		n = share(records)
	}
	part := projection.Batch{Partition: b.Partition}
	part.Checkpoint, _, _ = f.Store.Checkpoint(ctx, b.Partition)
	if part.Checkpoint.LogID == "" {
		part.Checkpoint.LogID = b.Checkpoint.LogID
	}
	part.Pairs = b.Pairs[:min(n, len(b.Pairs))]
	part.Holders = b.Holders[:max(n-len(b.Pairs), 0)]
	return f.Store.Flush(ctx, &part)
}

// ChangedSince asks the hook, then the store.
func (f *Faulty) ChangedSince(ctx context.Context, partition int, position uint64, fn func(*projection.HolderRecord) error) error {
	if err := f.ask(ctx, OpChangedSince, partition); err != nil {
		return err
	}
	return f.Store.ChangedSince(ctx, partition, position, fn)
}

// Holders asks the hook, then the store.
func (f *Faulty) Holders(ctx context.Context, partition int, after string, fn func(*projection.HolderRecord) error) error {
	if err := f.ask(ctx, OpHolders, partition); err != nil {
		return err
	}
	return f.Store.Holders(ctx, partition, after, fn)
}

// KeysAfter asks the hook, then the store.
func (f *Faulty) KeysAfter(ctx context.Context, partition int, after projection.PairKey, most int) ([]projection.PairKey, error) {
	if err := f.ask(ctx, OpKeysAfter, partition); err != nil {
		return nil, err
	}
	return f.Store.KeysAfter(ctx, partition, after, most)
}

// RemoveSealed asks the hook, then the store.
func (f *Faulty) RemoveSealed(ctx context.Context, partition int) (more bool, err error) {
	if err := f.ask(ctx, OpRemoveSealed, partition); err != nil {
		return false, err
	}
	return f.Store.RemoveSealed(ctx, partition)
}

// Claim asks the hook, then the store.
func (f *Faulty) Claim(ctx context.Context, partition int, epoch uint64) (projection.Checkpoint, bool, error) {
	if err := f.ask(ctx, OpClaim, partition); err != nil {
		return projection.Checkpoint{}, false, err
	}
	return f.Store.Claim(ctx, partition, epoch)
}

// Meta asks the hook, then the store.
func (f *Faulty) Meta(ctx context.Context) (map[string]string, error) {
	if err := f.ask(ctx, OpMeta, -1); err != nil {
		return nil, err
	}
	return f.Store.Meta(ctx)
}

// SetMeta asks the hook, then the store.
func (f *Faulty) SetMeta(ctx context.Context, values map[string]string) error {
	if err := f.ask(ctx, OpSetMeta, -1); err != nil {
		return err
	}
	return f.Store.SetMeta(ctx, values)
}
