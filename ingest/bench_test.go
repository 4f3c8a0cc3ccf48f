package ingest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

func benchDraft() hold.Draft {
	d := open("0x5f98805a4e8be255a32880fdec7f6728c6568ba0", "0x99eb33756a2eaa32f5964a747722c4b59e6af351", 1_611_072_272)
	d.End = hold.Stamp{Seconds: 1_626_219_032, Set: true}
	d.WeightExact = "90300027808239339"
	return d
}

func BenchmarkDecodeEvent(b *testing.B) {
	d := benchDraft()
	data := AppendEvent(nil, &d)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodeEvent(data, &d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	d := benchDraft()
	data := AppendEvent(nil, &d)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		data = AppendEvent(data[:0], &d)
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	data := []byte(`{"token_id":"gold","holder_id":"0x99eb33756a2eaa32f5964a747722c4b59e6af351","start":"2021-07-13T23:30:32Z","end":1626219033.5,"weight":1.5}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var d hold.Draft
	for b.Loop() {
		if err := DecodeJSON(data, &d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPartition(b *testing.B) {
	for name, holder := range map[string]string{"plain": "0x99eb33756a2eaa32f5964a747722c4b59e6af351", "encoded": strings.Repeat("jörg ", 7)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Partition(holder, 16)
			}
		})
	}
}

// BenchmarkFrame writes and reads a full frame; an operation is one event.
func BenchmarkFrame(b *testing.B) {
	d := benchDraft()
	var w FrameWriter
	b.ReportAllocs()
	for n := 0; n < b.N; n += MaxFrameEvents {
		w.Reset()
		for range MaxFrameEvents {
			w.AppendDraft(&d)
		}
		r := ReadFrame(w.Bytes())
		for e, ok := r.Next(); ok; e, ok = r.Next() {
			if err := DecodeEvent(e, &d); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkProducer publishes to a real log; an operation is one event.
func BenchmarkProducer(b *testing.B) {
	for _, sync := range []bool{false, true} {
		name := map[bool]string{false: "no fsync", true: "fsync"}[sync]
		l, err := OpenLog(b.Context(), connect(b, natstest.Start(b, func(o *server.Options) { o.SyncAlways = sync })), LogConfig{})
		if err != nil {
			b.Fatal(err)
		}
		p := newTestProducer(b, l, ProducerOptions{})
		drafts := make([]hold.Draft, 4096)
		for i := range drafts {
			drafts[i] = benchDraft()
			drafts[i].Holder = fmt.Sprintf("0x%040x", i)
		}
		b.Run(name+"/Send", func(b *testing.B) {
			b.ReportAllocs()
			done := make(chan struct{})
			var left atomic.Int64
			left.Store(int64(b.N))
			for i := range b.N {
				if err := p.Send(b.Context(), &drafts[i%len(drafts)], func(_ uint64, err error) {
					if err != nil {
						b.Error(err)
					}
					if left.Add(-1) == 0 {
						close(done)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			<-done
		})
		b.Run(name+"/RecordBatch", func(b *testing.B) {
			b.ReportAllocs()
			for n := b.N; n > 0; n -= len(drafts) {
				if r, err := p.RecordBatch(b.Context(), drafts[:min(n, len(drafts))]); err != nil || len(r.Refused) > 0 {
					b.Fatal(r, err)
				}
			}
		})
		b.Run(name+"/Record", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := p.Record(b.Context(), &drafts[i%len(drafts)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/RecordParallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(128)
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Record(b.Context(), &drafts[int(next.Add(1))%len(drafts)]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
