package mongo

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

const benchPairs = 2000

// benchBatch is a flush of one new fact for each of so many pairs.
func benchBatch(partition int, round int) *projection.Batch {
	b := &projection.Batch{Partition: partition, Checkpoint: projection.Checkpoint{
		LogID: "log", Epoch: 1, Position: uint64(round + 1), LogTime: second(int64(round)),
	}}
	for i := range benchPairs {
		key := projection.PairKey{Holder: fmt.Sprintf("0x%040x", uint64(i)*0x9E3779B97F4A7C15), Token: "pool"}
		fact := projection.LoggedFact{Fact: ended(int64(round), int64(round+1)), Position: b.Checkpoint.Position, LogTime: b.Checkpoint.LogTime}
		figures := hold.PairFromFacts(hold.Merge, func(yield func(hold.Fact) bool) { yield(fact.Fact) }).Figures(second(int64(round + 1)))
		b.Pairs = append(b.Pairs, projection.PairChange{Key: key, Figures: figures, Facts: []projection.LoggedFact{fact}})
		b.Holders = append(b.Holders, projection.HolderRecord{Holder: key.Holder, Figures: figures, UpdatedAt: b.Checkpoint.LogTime, Position: b.Checkpoint.Position})
	}
	return b
}

// bulkOf is the same documents as the driver takes them.
func bulkOf(b *projection.Batch) (facts, pairs, stats []driver.WriteModel) {
	where, prefix := atOf(b.Checkpoint), partitionPrefix(b.Partition)
	upsert := func(r record) driver.WriteModel {
		return driver.NewUpdateOneModel().SetUpsert(true).SetFilter(guard(r.id, where)).SetUpdate(r.update(where))
	}
	for i := range b.Pairs {
		for j := range b.Pairs[i].Facts {
			facts = append(facts, driver.NewInsertOneModel().SetDocument(factDocument(b.Partition, b.Pairs[i].Key, &b.Pairs[i].Facts[j])))
		}
		pairs = append(pairs, upsert(pairDocument(prefix, b.Partition, where, &b.Pairs[i])))
	}
	for i := range b.Holders {
		stats = append(stats, upsert(holderDocument(prefix, b.Partition, where, &b.Holders[i])))
	}
	return facts, pairs, stats
}

// A flush of 2,000 facts, pairs and holders, beside the driver's own bulk writes of
// the same documents, which are made beforehand. Both take turns; `share` is the
// flush's throughput by the driver's. On the stand-in the server's work is most of both.
func BenchmarkFlush(b *testing.B) {
	s := open(b, database(b))
	defer s.Close()
	ctx := context.Background()
	bulk := func(c *driver.Collection, models []driver.WriteModel) {
		if _, err := c.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false)); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs time.Duration
	round := 0
	for b.Loop() {
		mine := benchBatch(0, round)
		facts, pairs, stats := bulkOf(benchBatch(1, round))
		flush := func() {
			began := time.Now()
			if err := s.Flush(ctx, mine); err != nil {
				b.Fatal(err)
			}
			ours += time.Since(began)
		}
		direct := func() {
			began := time.Now()
			bulk(s.events, facts)
			bulk(s.pairs, pairs)
			bulk(s.stats, stats)
			bulk(s.checkpoints, []driver.WriteModel{driver.NewUpdateOneModel().SetUpsert(true).
				SetFilter(bson.D{{Key: "_id", Value: int32(1)}}).SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "position", Value: int64(round)}}}})})
			theirs += time.Since(began)
		}
		if round%2 == 0 {
			flush()
			direct()
		} else {
			direct()
			flush()
		}
		round++
	}
	if round > 0 {
		b.ReportMetric(float64(round)*3*benchPairs/ours.Seconds(), "documents/s")
		b.ReportMetric(theirs.Seconds()/ours.Seconds(), "share")
	}
}

// What making the documents costs beside sending them.
func BenchmarkDocuments(b *testing.B) {
	batch := benchBatch(0, 1)
	b.ReportAllocs()
	for b.Loop() {
		facts, pairs, stats := bulkOf(batch)
		for _, models := range [][]driver.WriteModel{facts, pairs, stats} {
			for _, m := range models {
				var err error
				switch m := m.(type) {
				case *driver.InsertOneModel:
					_, err = bson.Marshal(m.Document)
				case *driver.UpdateOneModel:
					_, err = bson.Marshal(m.Update)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(b.N)*3*benchPairs/b.Elapsed().Seconds(), "documents/s")
}
