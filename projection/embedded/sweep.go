package embedded

import (
	"bytes"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/projection"
)

// KeysAfter walks the records of pairs and steps over their pages.
func (s *Store) KeysAfter(ctx context.Context, partition int, after projection.PairKey, most int) ([]projection.PairKey, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	lower, upper := partitionBounds(kindPair, partition)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, s.readError(err)
	}
	defer it.Close()
	ok := false
	if after == (projection.PairKey{}) {
		ok = it.First()
	} else {
		ok = it.SeekGE(afterPrefix(appendPairKey(nil, partition, after.Holder, after.Token)))
	}
	var keys []projection.PairKey
	var next []byte
	for n := 0; ok && len(keys) < most; n++ {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		holder, rest, err := cutID(it.Key()[partitionEnd:])
		if err != nil {
			return nil, corrupt("the key of a pair", errKey)
		}
		token, rest, err := cutID(rest)
		if err != nil || len(rest) > 0 {
			return nil, corrupt("the key of a pair", errKey)
		}
		keys = append(keys, projection.PairKey{Holder: holder, Token: token})
		next = append(next[:0], it.Key()...)
		if ok = it.Next(); ok && bytes.HasPrefix(it.Key(), next) {
			ok = it.SeekGE(afterPrefix(next))
		}
	}
	return keys, s.readError(it.Error())
}
