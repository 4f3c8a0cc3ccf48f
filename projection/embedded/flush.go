package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// ctxEvery is how many records are handled between two looks at the context.
const ctxEvery = 256

// Flush writes a batch atomically and returns after the fsync. One that is large
// goes as tables, see bulk.go. After an error
// the previous state is whole.
func (s *Store) Flush(ctx context.Context, b *projection.Batch) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := checkPartition(b.Partition); err != nil {
		return err
	}
	part := s.partition(b.Partition)
	part.mu.Lock()
	defer part.mu.Unlock()
	if err := s.guard(part, b); err != nil {
		return err
	}
	write := s.flushBatch
	if estimate(b) >= s.bulkBytes {
		write = s.flushBulk
	}
	if err := write(ctx, b); err != nil {
		return err
	}
	part.checkpoint = b.Checkpoint
	return nil
}

func (s *Store) flushBatch(ctx context.Context, b *projection.Batch) error {
	batch := s.db.NewBatchWithSize(estimate(b))
	defer batch.Close()
	w := batchWriter{store: s, to: batchOf{batch}, partition: b.Partition}
	if err := w.write(ctx, b); err != nil {
		return err
	}
	return s.commit(batch)
}

// guard refuses a batch of an owner that was followed by another one.
func (s *Store) guard(part *partition, b *projection.Batch) error {
	if !part.known {
		c, _, err := s.readCheckpoint(s.db, b.Partition)
		if err != nil {
			return err
		}
		part.checkpoint, part.known = c, true
	}
	if part.checkpoint.Epoch > b.Checkpoint.Epoch {
		return &projection.FencedError{Partition: b.Partition, Stored: part.checkpoint.Epoch, Mine: b.Checkpoint.Epoch}
	}
	return nil
}

// commit makes a batch durable. Pebble cannot go on after a commit that failed,
// and neither can the store.
func (s *Store) commit(batch *pebble.Batch) (err error) {
	defer func() {
		if err != nil {
			err = s.fail(err)
		}
	}()
	defer recoverFatal(&err)
	return batch.Commit(pebble.Sync)
}

// estimate is about how large the batch becomes, so that it grows once.
func estimate(b *projection.Batch) int {
	n := 256
	for i := range b.Pairs {
		c := &b.Pairs[i]
		n += 256 + len(c.Key.Holder) + len(c.Key.Token)
		for j := range c.Pages {
			n += 256 + len(c.Pages[j].Data)
		}
	}
	for i := range b.Holders {
		n += 192 + len(b.Holders[i].Holder)
	}
	return n
}

// batchWriter turns changes into puts and deletes. Its buffers serve one record after the other.
type batchWriter struct {
	store      *Store
	to         written
	partition  int
	key, value []byte
	pages      []*hold.Page
}

func (w *batchWriter) write(ctx context.Context, b *projection.Batch) error {
	for i := range b.Pairs {
		if i%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := w.pair(&b.Pairs[i]); err != nil {
			return err
		}
	}
	for i := range b.Holders {
		w.key = appendHolderKey(w.key[:0], w.partition, b.Holders[i].Holder)
		w.value = appendHolder(w.value[:0], &b.Holders[i])
		if err := w.set(); err != nil {
			return err
		}
	}
	w.key = checkpointKey(w.key[:0], w.partition)
	w.value = appendCheckpoint(w.value[:0], &b.Checkpoint)
	if err := w.set(); err != nil {
		return err
	}
	return ctx.Err()
}

func (w *batchWriter) set() error { return w.to.Set(w.key, w.value) }

// pair writes a pair's record and its pages.
//
// The root page lives in the record, which is rewritten for the figures
// whenever the pair changes. So where the change does not bring the root page,
// the stored one is read and written again.
func (w *batchWriter) pair(c *projection.PairChange) error {
	record := pairRecord{policy: c.Policy, figures: c.Figures}
	w.key = appendPairKey(w.key[:0], w.partition, c.Key.Holder, c.Key.Token)
	prefix, rootGiven := len(w.key), false
	w.pages = w.pages[:0]
	for i := range c.Pages {
		page := &c.Pages[i]
		switch {
		case len(page.Key) == 0:
			rootGiven = true
			record.root, record.hasRoot = page.Data, len(page.Data) > 0
		case len(page.Key) > maxPageKey:
			return fmt.Errorf("%w: a page key of %d bytes", projection.ErrBatch, len(page.Key))
		default:
			w.pages = append(w.pages, page)
		}
	}
	if !rootGiven {
		closer, err := w.keepRoot(&record)
		if err != nil {
			return err
		}
		defer closer()
	}
	w.value = record.append(w.value[:0])
	if err := w.set(); err != nil {
		return err
	}
	// Tables want their keys in order.
	slices.SortFunc(w.pages, comparePages)
	for _, page := range w.pages {
		if err := w.page(appendPageKey(w.key[:prefix], page.Key), page.Data); err != nil {
			return err
		}
	}
	return nil
}

func (w *batchWriter) page(key, data []byte) error {
	w.key = key
	if len(data) == 0 {
		return w.to.Delete(key)
	}
	w.value = appendTagged(w.value[:0], data)
	return w.set()
}

func (w *batchWriter) keepRoot(record *pairRecord) (closer func(), err error) {
	value, c, err := w.store.db.Get(w.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return func() {}, nil
	}
	if err != nil {
		return nil, w.store.readError(err)
	}
	stored, err := parsePair(value)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	record.root, record.hasRoot = stored.root, stored.hasRoot
	return func() { _ = c.Close() }, nil
}
