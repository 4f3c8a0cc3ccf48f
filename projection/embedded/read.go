package embedded

import (
	"bytes"
	"context"
	"errors"
	"sort"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

func (s *Store) readCheckpoint(from pebble.Reader, partition int) (projection.Checkpoint, bool, error) {
	value, closer, err := from.Get(checkpointKey(nil, partition))
	if errors.Is(err, pebble.ErrNotFound) {
		return projection.Checkpoint{}, false, nil
	}
	if err != nil {
		return projection.Checkpoint{}, false, s.readError(err)
	}
	defer closer.Close()
	c, err := parseCheckpoint(value)
	return c, err == nil, err
}

// Checkpoint says how far the partition is.
func (s *Store) Checkpoint(ctx context.Context, partition int) (projection.Checkpoint, bool, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return projection.Checkpoint{}, false, err
	}
	defer leave()
	return s.readCheckpoint(s.db, partition)
}

func (s *Store) enterPartition(ctx context.Context, partition int) (leave func(), err error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	return s.enter(ctx)
}

// Holder reads one holder's figures.
func (s *Store) Holder(ctx context.Context, partition int, holder string) (*projection.HolderRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.readHolder(s.db, partition, holder)
}

func (s *Store) readHolder(from pebble.Reader, partition int, holder string) (*projection.HolderRecord, error) {
	value, closer, err := from.Get(appendHolderKey(nil, partition, holder))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, projection.ErrNotFound
	}
	if err != nil {
		return nil, s.readError(err)
	}
	defer closer.Close()
	h, err := parseHolder(value)
	if err != nil {
		return nil, err
	}
	h.Holder = holder
	return &h, nil
}

// Load reads pairs with one iterator, in the order of their keys, so that each
// seek begins where the one before ended, and one seek brings a pair's record and
// its pages. Bloom filters answer for pairs that are not there. BenchmarkLoad has
// it against a get for each record, which finds no pages and copies nothing: four
// times as fast for pairs that are not there, two thirds for those that are.
func (s *Store) Load(ctx context.Context, partition int, keys []projection.PairKey) ([]*projection.PairRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	records := make([]*projection.PairRecord, len(keys))
	order := sortedIndex(len(keys), func(i, j int) bool { return keys[i].Compare(keys[j]) < 0 })
	var prefix []byte
	err = s.seekEach(ctx, kindPair, partition, order, func(it *pebble.Iterator, i int) error {
		prefix = appendPairKey(prefix[:0], partition, keys[i].Holder, keys[i].Token)
		if !it.SeekPrefixGE(prefix) {
			return nil
		}
		record := &projection.PairRecord{Key: keys[i]}
		records[i] = record
		if err := readPair(it, record, prefix, func(b []byte) []byte { return bytes.Clone(b) }); err != nil {
			return err
		}
		if record.IsLarge() {
			record.More = projection.PagesOf(context.WithoutCancel(ctx), s, partition, keys[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// LoadHolders reads holders, likewise.
func (s *Store) LoadHolders(ctx context.Context, partition int, holders []string) ([]*projection.HolderRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	records := make([]*projection.HolderRecord, len(holders))
	order := sortedIndex(len(holders), func(i, j int) bool { return holders[i] < holders[j] })
	var key []byte
	err = s.seekEach(ctx, kindHolder, partition, order, func(it *pebble.Iterator, i int) error {
		key = appendHolderKey(key[:0], partition, holders[i])
		if !it.SeekPrefixGE(key) {
			return nil
		}
		h, err := parseHolder(it.Value())
		if err != nil {
			return err
		}
		h.Holder = holders[i]
		records[i] = &h
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

func sortedIndex(n int, less func(i, j int) bool) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return less(order[a], order[b]) })
	return order
}

// seekEach calls fn for each index in order with one iterator over a kind of a partition.
func (s *Store) seekEach(ctx context.Context, kind byte, partition int, order []int, fn func(*pebble.Iterator, int) error) error {
	if len(order) == 0 {
		return nil
	}
	lower, upper := partitionBounds(kind, partition)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper, UseL6Filters: true})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	for n, i := range order {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := fn(it, i); err != nil {
			return err
		}
		if err := it.Error(); err != nil {
			return s.readError(err)
		}
	}
	return nil
}

// readPair reads the pair whose record the iterator is on, with its pages, and
// leaves the iterator behind them. Of a large pair it reads the root and leaves
// the iterator there. Bytes are kept by way of keep.
func readPair(it *pebble.Iterator, record *projection.PairRecord, prefix []byte, keep func([]byte) []byte) error {
	if !bytes.Equal(it.Key(), prefix) {
		return corrupt("a pair", errors.New("a page without the pair's record"))
	}
	p, err := parsePair(it.Value())
	if err != nil {
		return err
	}
	record.Policy, record.Figures = p.policy, p.figures
	if p.hasRoot {
		record.Pages = append(record.Pages, hold.Page{Data: keep(p.root)})
		if hold.IsRoot(p.root) {
			return nil
		}
	}
	for it.Next() && bytes.HasPrefix(it.Key(), prefix) {
		data, err := parseTagged(it.Value(), "a page")
		if err != nil {
			return err
		}
		key := it.Key()[len(prefix):]
		if len(key) <= pageKeyTail {
			return corrupt("the key of a page", errKey)
		}
		record.Pages = append(record.Pages, hold.Page{Key: keep(key[:len(key)-pageKeyTail]), Data: keep(data)})
	}
	return nil
}

// HolderPairs walks the figures of a holder's pairs; it steps over their pages.
func (s *Store) HolderPairs(ctx context.Context, partition int, holder string, fn func(projection.PairKey, hold.Figures) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	lower := appendHolderPrefix(nil, partition, holder)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: afterPrefix(bytes.Clone(lower))})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	var next []byte
	for ok, n := it.First(), 0; ok; n++ {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		token, rest, err := cutID(it.Key()[len(lower):])
		if err != nil || len(rest) > 0 {
			return corrupt("the key of a pair", errKey)
		}
		p, err := parsePair(it.Value())
		if err != nil {
			return err
		}
		next = append(next[:0], it.Key()...)
		if err := fn(projection.PairKey{Holder: holder, Token: token}, p.figures); err != nil {
			return err
		}
		// Nearly always the next key is the next pair; else it is a page of this one.
		if ok = it.Next(); ok && bytes.HasPrefix(it.Key(), next) {
			ok = it.SeekGE(afterPrefix(next))
		}
	}
	return s.readError(it.Error())
}

// ChangedSince walks the holders of a partition and leaves out those that are
// older. There is no index on the position: it would cost a delete and a put more
// for each holder of each flush, and the walk is needed once after a crash.
func (s *Store) ChangedSince(ctx context.Context, partition int, position uint64, fn func(*projection.HolderRecord) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	lower, upper := partitionBounds(kindHolder, partition)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	for ok, n := it.First(), 0; ok; ok, n = it.Next(), n+1 {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		at, err := parseHolderPosition(it.Value())
		if err != nil {
			return err
		}
		if at <= position {
			continue
		}
		h, err := parseHolder(it.Value())
		if err != nil {
			return err
		}
		var rest []byte
		if h.Holder, rest, err = cutID(it.Key()[partitionEnd:]); err != nil || len(rest) > 0 {
			return corrupt("the key of a holder", errKey)
		}
		if err := fn(&h); err != nil {
			return err
		}
	}
	return s.readError(it.Error())
}
