package query

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// StoredPairs calls fn with each of some pairs that the store has, as the store has it
// now, and with a position of the log up to which all its facts are there. The ids of
// the keys may be in any form that the rules of the active generation know. What fn has
// read is not valid if StoredPairs returns an error.
func (s *Service) StoredPairs(ctx context.Context, keys []projection.PairKey, fn func(i int, p *hold.Pair, position uint64)) error {
	return s.with(func(b *Generation) error {
		partitions := map[int][]int{} // places of keys
		named := make([]projection.PairKey, len(keys))
		for i, k := range keys {
			named[i] = projection.PairKey{Holder: b.Rules.Holder(k.Holder), Token: b.Rules.Token(k.Token)}
			p := ingest.Partition(named[i].Holder, s.cfg.Log.Partitions())
			partitions[p] = append(partitions[p], i)
		}
		for partition, places := range partitions {
			// Before the pairs, so that they have at least what it stands for.
			c, flushed, err := b.Reader.Checkpoint(ctx, partition)
			if err != nil {
				return storeError(ctx, err)
			}
			if !flushed {
				continue
			}
			some := make([]projection.PairKey, len(places))
			for j, i := range places {
				some[j] = named[i]
			}
			records, err := b.Reader.Load(ctx, partition, some)
			if err != nil {
				return storeError(ctx, err)
			}
			for j, r := range records {
				if r == nil {
					continue
				}
				pair, err := r.Open()
				if err != nil {
					return err
				}
				fn(places[j], pair, c.Position)
				if err := r.Check(pair); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// AppliedPair waits until the store has applied all that the log held at the call, and
// calls fn with a pair, which is fn's to change until it returns. The pair has no facts
// if the store does not have it. The error is that of fn, or why nothing is known.
func (s *Service) AppliedPair(ctx context.Context, key projection.PairKey, fn func(p *hold.Pair, position uint64) error) error {
	return s.with(func(b *Generation) error {
		holder, token := b.Rules.Holder(key.Holder), b.Rules.Token(key.Token)
		view, err := b.holderView(ctx, holder, &Window{At: s.Now()}, 0)
		if err != nil {
			return err
		}
		defer view.Close()
		c, _ := view.Checkpoint()
		given := false
		err = holderPairs(ctx, view, holder, token, func(r *projection.PairRecord) error {
			given = true
			pair, err := r.Open()
			if err == nil {
				err = fn(pair, c.Position)
			}
			if err == nil {
				err = r.Check(pair)
			}
			return err
		})
		if err == nil && !given {
			err = fn(hold.NewPair(b.Rules.Of(token).Policy), c.Position)
		}
		return storeError(ctx, err)
	})
}
