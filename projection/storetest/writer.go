package storetest

import (
	"context"
	"maps"
	"slices"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// writer makes batches as a processor does: it has the pairs of a partition in
// memory and writes what has changed. It is the model that stores are compared
// with.
type writer struct {
	partition int
	policy    hold.Policy
	at        projection.Checkpoint
	pairs     map[projection.PairKey]*hold.Pair
	figures   map[projection.PairKey]hold.Figures            // as last written
	holders   map[string]projection.HolderRecord             // as last written
	fresh     map[projection.PairKey][]projection.LoggedFact // not written
}

func newWriter(partition int) *writer {
	return &writer{
		partition: partition,
		at:        projection.Checkpoint{LogID: "log-1", Epoch: 1, LogTime: 1_700_000_000e9},
		pairs:     map[projection.PairKey]*hold.Pair{},
		figures:   map[projection.PairKey]hold.Figures{},
		holders:   map[string]projection.HolderRecord{},
		fresh:     map[projection.PairKey][]projection.LoggedFact{},
	}
}

// add takes up one event more.
func (w *writer) add(holder, token string, f hold.Fact) {
	key := projection.PairKey{Holder: holder, Token: token}
	p := w.pairs[key]
	if p == nil {
		p = hold.NewPair(w.policy)
		w.pairs[key] = p
	}
	w.at.Position++
	w.at.Events++
	w.at.LogTime += 1e6
	w.at.Hash = 1<<63 | w.at.Position
	w.at.Messages++
	if p.Add(f) {
		w.fresh[key] = append(w.fresh[key], projection.LoggedFact{Fact: f, Position: w.at.Position, LogTime: w.at.LogTime})
	} else if _, dirty := w.fresh[key]; !dirty {
		w.fresh[key] = nil // written again all the same
	}
}

// seal seals every pair up to a horizon, and says how many were.
func (w *writer) seal(horizon int64) (sealed int) {
	w.at.Horizon = horizon
	for key, p := range w.pairs {
		if !p.Seal(horizon, w.figures[key].Line.Since) {
			continue
		}
		sealed++
		if _, dirty := w.fresh[key]; !dirty {
			w.fresh[key] = nil
		}
	}
	return sealed
}

// batch is what is not written yet.
func (w *writer) batch() *projection.Batch {
	b := &projection.Batch{Partition: w.partition, Checkpoint: w.at}
	holders := map[string]bool{}
	for _, key := range slices.SortedFunc(maps.Keys(w.fresh), projection.PairKey.Compare) {
		p := w.pairs[key]
		holders[key.Holder] = true
		b.Pairs = append(b.Pairs, projection.PairChange{
			Key: key, Policy: w.policy, Facts: w.fresh[key], Sealed: p.DirtySealed(),
			Pages:   slices.Collect(p.DirtyPages()),
			Figures: p.Figures(w.at.LogTime),
		})
	}
	sums := map[string]hold.Figures{}
	for key, p := range w.pairs {
		if !holders[key.Holder] {
			continue
		}
		f := p.Figures(w.at.LogTime)
		if sum, some := sums[key.Holder]; some {
			f = sum.Plus(f)
		}
		sums[key.Holder] = f
	}
	for _, holder := range slices.Sorted(maps.Keys(sums)) {
		b.Holders = append(b.Holders, projection.HolderRecord{
			Holder: holder, Figures: sums[holder], UpdatedAt: w.at.LogTime, Position: w.at.Position,
		})
	}
	return b
}

// written takes note that a batch is in the store.
func (w *writer) written(b *projection.Batch) {
	for i := range b.Pairs {
		w.figures[b.Pairs[i].Key] = b.Pairs[i].Figures
		w.pairs[b.Pairs[i].Key].ClearDirty()
	}
	for _, h := range b.Holders {
		w.holders[h.Holder] = h
	}
	clear(w.fresh)
}

func (w *writer) flush(ctx context.Context, s projection.Store) error {
	b := w.batch()
	if err := s.Flush(ctx, b); err != nil {
		return err
	}
	w.written(b)
	return nil
}

// second is a time of the tests.
func second(n int64) int64 { return (1_600_000_000 + n) * 1e9 }

// ended, opening and stop are facts as events without hold_id give them.
func ended(from, to int64) hold.Fact {
	return hold.Fact{Kind: hold.KindHold, Start: second(from), End: second(to)}
}

func opening(from int64) hold.Fact { return hold.Fact{Kind: hold.KindHold, Start: second(from)} }

func stop(at int64) hold.Fact { return hold.Fact{Kind: hold.KindStop, End: second(at)} }
