package mongo

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// pairsAtOnce is for how many pairs facts are asked for in one query.
const pairsAtOnce = 32

// readFacts reads the facts of pairs that are there at a position, from
// hold_events.
func (s *Store) readFacts(ctx context.Context, partition int, keys []projection.PairKey, position int64) (map[projection.PairKey][]projection.LoggedFact, error) {
	facts := make(map[projection.PairKey][]projection.LoggedFact, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), pairsAtOnce)
		if err := s.readFactsOf(ctx, partition, keys[:n], position, facts); err != nil {
			return nil, err
		}
		keys = keys[n:]
	}
	return facts, nil
}

func (s *Store) readFactsOf(ctx context.Context, partition int, keys []projection.PairKey, position int64, facts map[projection.PairKey][]projection.LoggedFact) error {
	// Plan: for each clause an IXSCAN of by_pair over the pair's facts up to the
	// position, then FETCH.
	clauses := make(bson.A, len(keys))
	for i, k := range keys {
		clauses[i] = bson.D{
			{Key: "holder_id", Value: k.Holder},
			{Key: "token_id", Value: k.Token},
			{Key: "position", Value: bson.D{{Key: "$lte", Value: position}}},
			{Key: "partition", Value: int32(partition)},
		}
	}
	filter := clauses[0]
	if len(clauses) > 1 {
		filter = bson.D{{Key: "$or", Value: clauses}}
	}
	return s.try(ctx, fmt.Sprintf("read facts of partition %d", partition), func(context.Context) error {
		for _, k := range keys {
			delete(facts, k)
		}
		return s.scan(ctx, s.events, filter, options.Find(), func(raw bson.Raw) error {
			key, f, err := parseFactDocument(raw, partition)
			if err == nil {
				facts[key] = append(facts[key], f)
			}
			return err
		})
	})
}

// bare are facts without their places.
func bare(logged []projection.LoggedFact) []hold.Fact {
	facts := make([]hold.Fact, len(logged))
	for i := range logged {
		facts[i] = logged[i].Fact
	}
	return facts
}

// lastOf is where the latest of some facts stands; zeros without one.
func lastOf(facts []projection.LoggedFact) (position uint64, logTime int64) {
	for i := range facts {
		position, logTime = max(position, facts[i].Position), max(logTime, facts[i].LogTime)
	}
	return position, logTime
}
