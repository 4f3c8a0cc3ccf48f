package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

func benchKey(i int) projection.PairKey {
	return projection.PairKey{Holder: fmt.Sprintf("0x%040x", uint64(i)*0x9E3779B97F4A7C15), Token: "pool"}
}

// benchBatch changes n pairs, picked over all, and their holders.
func benchBatch(pick func() int, n int, position uint64) *projection.Batch {
	b := &projection.Batch{Checkpoint: projection.Checkpoint{LogID: "log", Position: position, Epoch: 1}}
	page := make([]byte, 150)
	for range n {
		key := benchKey(pick())
		b.Pairs = append(b.Pairs, projection.PairChange{Key: key, Pages: []hold.Page{{Data: page}}})
		b.Holders = append(b.Holders, projection.HolderRecord{Holder: key.Holder, Position: position})
	}
	return b
}

func benchStore(b *testing.B, pairs int) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	next := 0
	for n := 0; n < pairs; n += 10_000 {
		if err := s.Flush(context.Background(), benchBatch(func() int { next++; return next - 1 }, 10_000, uint64(n+1))); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// One flush of 10,000 pairs and holders, fsync included, over 100,000 pairs.
func BenchmarkFlush(b *testing.B) {
	s := benchStore(b, 100_000)
	rng := rand.New(rand.NewPCG(1, 1))
	var batches []*projection.Batch
	for n := range 8 {
		batches = append(batches, benchBatch(func() int { return rng.IntN(100_000) }, 10_000, uint64(1_000_000+n)))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := s.Flush(context.Background(), batches[n%len(batches)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)*10_000/b.Elapsed().Seconds(), "pairs/s")
}

// Loads of 1,000 pairs, there and not there: Load, and a get for each, as it could be.
func BenchmarkLoad(b *testing.B) {
	s := benchStore(b, 200_000)
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		from int
	}{{"present", 0}, {"absent", 10_000_000}} {
		rng := rand.New(rand.NewPCG(1, 2))
		keys := make([]projection.PairKey, 1000)
		for i := range keys {
			keys[i] = benchKey(c.from + rng.IntN(200_000))
		}
		b.Run(c.name+"/load", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Load(context.Background(), 0, keys); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "pairs/s")
		})
		b.Run(c.name+"/gets", func(b *testing.B) {
			b.ReportAllocs()
			var key []byte
			for b.Loop() {
				for _, k := range keys {
					key = appendPairKey(key[:0], 0, k.Holder, k.Token)
					value, closer, err := s.db.Get(key)
					if errors.Is(err, pebble.ErrNotFound) {
						continue
					}
					if err != nil {
						b.Fatal(err)
					}
					if _, err := parsePair(value); err != nil {
						b.Fatal(err)
					}
					_ = closer.Close()
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

// A walk over all holders, none of them changed.
func BenchmarkChangedSince(b *testing.B) {
	s := benchStore(b, 200_000)
	for b.Loop() {
		if err := s.ChangedSince(context.Background(), 0, 1<<40, func(*projection.HolderRecord) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "holders/s")
}

func BenchmarkAllPairs(b *testing.B) {
	s := benchStore(b, 200_000)
	b.ReportAllocs()
	for b.Loop() {
		v, err := s.View(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.AllPairs(context.Background(), func(*projection.PairRecord) error { return nil }); err != nil {
			b.Fatal(err)
		}
		_ = v.Close()
	}
	b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "pairs/s")
}

// A replay's flushes into an empty store: 16 of 12,500 pairs and holders, 1 KB a
// pair, fsyncs included; as batches and as tables.
func BenchmarkFlushBulk(b *testing.B) {
	for _, c := range []struct {
		name  string
		bytes int
	}{{"batches", 1 << 40}, {"tables", 1}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s, err := Open(b.TempDir(), Options{bulkBytes: c.bytes})
				if err != nil {
					b.Fatal(err)
				}
				var batches []*projection.Batch
				next := 0
				for p := range 16 {
					batch := benchBatch(func() int { next++; return next }, 12_500, 1)
					batch.Partition = p
					page := make([]byte, 1000)
					rng := rand.New(rand.NewPCG(1, 1))
					for i := range page {
						page[i] = byte(rng.IntN(24))
					}
					for i := range batch.Pairs {
						batch.Pairs[i].Pages[0].Data = page
					}
					slices.SortFunc(batch.Pairs, comparePairs)
					slices.SortFunc(batch.Holders, compareHolders)
					batches = append(batches, batch)
				}
				b.StartTimer()
				for _, batch := range batches {
					if err := s.Flush(context.Background(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}
