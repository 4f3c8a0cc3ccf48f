package embedded

import (
	"bytes"
	"context"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// view reads from a snapshot of the database: it sees whole flushes, and none
// that came after it was opened.
type view struct {
	store      *Store
	snapshot   *pebble.Snapshot
	leave      func()
	partition  int
	checkpoint projection.Checkpoint
	flushed    bool
}

// View opens a view of one partition.
func (s *Store) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	leave, err := s.enterAs(ctx, (*inuse.Count).View)
	if err != nil {
		return nil, err
	}
	v := &view{store: s, snapshot: s.db.NewSnapshot(), leave: leave, partition: partition}
	v.checkpoint, v.flushed, err = s.readCheckpoint(v.snapshot, partition)
	if err != nil {
		_ = v.Close()
		return nil, err
	}
	return v, nil
}

func (v *view) Close() error {
	if v.snapshot == nil {
		return nil
	}
	err := v.snapshot.Close()
	v.snapshot = nil
	v.leave()
	return err
}

func (v *view) Checkpoint() (projection.Checkpoint, bool) { return v.checkpoint, v.flushed }

func (v *view) Holder(ctx context.Context, holder string) (*projection.HolderRecord, error) {
	if err := v.usable(ctx); err != nil {
		return nil, err
	}
	return v.store.readHolder(v.snapshot, v.partition, holder)
}

func (v *view) usable(ctx context.Context) error {
	if v.snapshot == nil {
		return errViewClosed
	}
	return ctx.Err()
}

func (v *view) Pairs(ctx context.Context, holder string, fn func(*projection.PairRecord) error) error {
	lower := appendHolderPrefix(nil, v.partition, holder)
	_, err := v.walk(ctx, lower, afterPrefix(bytes.Clone(lower)), math.MaxInt, fn)
	return err
}

func (v *view) AllPairs(ctx context.Context, fn func(*projection.PairRecord) error) error {
	lower, upper := partitionBounds(kindPair, v.partition)
	_, err := v.walk(ctx, lower, upper, math.MaxInt, fn)
	return err
}

func (v *view) PairsAfter(ctx context.Context, after projection.PairKey, most int, fn func(*projection.PairRecord) error) (more bool, err error) {
	lower, upper := partitionBounds(kindPair, v.partition)
	if after != (projection.PairKey{}) {
		lower = afterPrefix(appendPairKey(nil, v.partition, after.Holder, after.Token))
	}
	return v.walk(ctx, lower, upper, most, fn)
}

// walk hands out one record after the other, out of the same memory, up to most of them.
func (v *view) walk(ctx context.Context, lower, upper []byte, most int, fn func(*projection.PairRecord) error) (more bool, err error) {
	if err := v.usable(ctx); err != nil {
		return false, err
	}
	it, err := v.snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return false, v.store.readError(err)
	}
	defer it.Close()
	var (
		record projection.PairRecord
		prefix []byte
		arena  arena
		pages  = viewPages{ctx: ctx, view: v}
	)
	record.More = &pages
	it.First()
	for n := 0; it.Valid(); n++ {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
		if n == most {
			return true, nil
		}
		prefix = append(prefix[:0], it.Key()...)
		if record.Key, err = v.pairKey(prefix, record.Key.Holder); err != nil {
			return false, err
		}
		pages.pair = prefix
		record.Pages = record.Pages[:0]
		arena.reset()
		if err := readPair(it, &record, prefix, arena.keep); err != nil {
			return false, err
		}
		if err := it.Error(); err != nil {
			break // the pair may not be whole
		}
		if err := fn(&record); err != nil {
			return false, err
		}
		if record.IsLarge() {
			// Over the pages of a large pair, which nobody has read yet.
			it.SeekGE(afterPrefix(bytes.Clone(prefix)))
		}
	}
	return false, v.store.readError(it.Error())
}

// pairKey takes a key apart. Most pairs have the holder of the one before.
func (v *view) pairKey(key []byte, before string) (projection.PairKey, error) {
	ids := key[partitionEnd:]
	n, plain := idLen(ids)
	holder, rest := before, ids[n:]
	if n == 0 || !plain || string(ids[:n-2]) != before {
		var err error
		if holder, rest, err = cutID(ids); err != nil {
			return projection.PairKey{}, corrupt("the key of a pair", err)
		}
	}
	token, rest, err := cutID(rest)
	if err == nil && len(rest) > 0 {
		err = errKey
	}
	if err != nil {
		return projection.PairKey{}, corrupt("the key of a pair", err)
	}
	return projection.PairKey{Holder: holder, Token: token}, nil
}

// arena is memory for the bytes of one record at a time.
type arena struct{ free []byte }

const arenaSize = 64 << 10

func (a *arena) reset() { a.free = a.free[:0] }

// keep copies b. Copies are whole until the next reset: where the memory
// is used up, new memory takes its place, and the old one stays with its copies.
func (a *arena) keep(b []byte) []byte {
	if cap(a.free)-len(a.free) < len(b) {
		a.free = make([]byte, 0, max(arenaSize, len(b)))
	}
	start := len(a.free)
	a.free = append(a.free, b...)
	return a.free[start:len(a.free):len(a.free)]
}
