package processor

import (
	"context"
	"fmt"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// benchPartition is a partition of one, with a store that takes everything, and
// frames of ended events in order for a number of holders.
func benchPartition(b *testing.B, holders, events int) (*partition, []message) {
	b.Helper()
	log := newMemLog(1)
	w, err := newWorker(Config{Store: asAtomic{storetest.NewMemory(), true}, CacheBytes: 1 << 40, FlushBytes: 1 << 40}, log, newMemBucket())
	if err != nil {
		b.Fatal(err)
	}
	p := w.partitions[0]
	p.background = context.Background()
	at := logBegin
	var frame ingest.FrameWriter
	for i := range events {
		at += int64(1_000_000)
		d := held(fmt.Sprintf("0x%038d", i%holders), "token", at-int64(1_000_000_000), at)
		frame.AppendDraft(&d)
		if frame.Count() == ingest.MaxFrameEvents || i == events-1 {
			log.append(0, at, false, append([]byte(nil), frame.Bytes()...))
			frame.Reset()
		}
	}
	return p, log.messages[0]
}

const (
	benchEvents  = 512 * 400
	benchHolders = 20_000
	benchBatch   = 16 // messages
)

func eachBatch(messages []message, f func([]message)) {
	for len(messages) > 0 {
		n := min(benchBatch, len(messages))
		f(messages[:n])
		messages = messages[n:]
	}
}

func perEvent(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
	b.ReportMetric(float64(b.N)*benchEvents/b.Elapsed().Seconds(), "events/s")
}

// Decode and check, with every pair in memory.
func BenchmarkDecode(b *testing.B) {
	p, messages := benchPartition(b, benchHolders, benchEvents)
	eachBatch(messages, func(m []message) {
		if err := p.apply.process(context.Background(), m); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		eachBatch(messages, func(batch []message) {
			p.apply.batch.reset(p.mem.clock, 0)
			for i := range batch {
				p.apply.decode(&batch[i])
			}
		})
	}
	perEvent(b)
}

// Decode, check, enter and apply, from nothing.
func BenchmarkApply(b *testing.B) {
	for _, holders := range []int{benchHolders, 200_000} {
		b.Run(fmt.Sprint(holders, "_holders"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				p, messages := benchPartition(b, holders, benchEvents)
				b.StartTimer()
				eachBatch(messages, func(m []message) {
					if err := p.apply.process(context.Background(), m); err != nil {
						b.Fatal(err)
					}
				})
			}
			perEvent(b)
		})
	}
}

// Settle and encode a flush of every pair.
func BenchmarkFlushEncode(b *testing.B) {
	b.ReportAllocs()
	pairs := 0
	for b.Loop() {
		b.StopTimer()
		p, messages := benchPartition(b, benchHolders, benchEvents)
		eachBatch(messages, func(m []message) {
			if err := p.apply.process(context.Background(), m); err != nil {
				b.Fatal(err)
			}
		})
		pairs = len(p.changes.pairs)
		b.StartTimer()
		if err := p.startFlush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pairs), "ns/pair")
	perEvent(b)
}

// Encode snapshots.
func BenchmarkSnapshot(b *testing.B) {
	d := held("0x0123456789abcdef0123456789abcdef01234567", "token", logBegin, logBegin+minute)
	e, err := d.Check(logBegin+minute, hold.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	pair := hold.NewPair(hold.Merge)
	pair.Add(e.Fact())
	r := projection.HolderRecord{Holder: d.Holder, Figures: pair.Figures(logBegin + 2*minute), UpdatedAt: logBegin, Position: 7}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := projection.EncodeSnapshot(&r, "none", "1"); err != nil {
			b.Fatal(err)
		}
	}
}
