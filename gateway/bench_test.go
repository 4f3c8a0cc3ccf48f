package gateway_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"holdmetrics/gateway/gatewaytest"
	holdpb "holdmetrics/proto"
)

// What the servers themselves cost, with a producer that has every event at once.
// The whole path, with a log and an fsync, is measured by test/bench.

func BenchmarkBroadcast(b *testing.B) {
	w := gatewaytest.NewWorld(b)
	stream, err := w.Metrics().Broadcast(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	event := gatewaytest.GoodEvent(1)
	b.ReportAllocs()
	b.ResetTimer()
	exchange(b, stream, event)
}

// exchange sends a message b.N times and receives as many answers.
func exchange[Req, Res any](b *testing.B, stream grpc.BidiStreamingClient[Req, Res], m *Req) {
	b.Helper()
	var sender sync.WaitGroup
	sender.Go(func() {
		for range b.N {
			if stream.Send(m) != nil {
				return
			}
		}
		stream.CloseSend()
	})
	for range b.N {
		if _, err := stream.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	sender.Wait()
}

func BenchmarkBroadcastBatch(b *testing.B) {
	w := gatewaytest.NewWorld(b)
	stream, err := w.Metrics().BroadcastBatch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	batch := &holdpb.HoldBatch{}
	for i := range 512 {
		batch.Events = append(batch.Events, gatewaytest.GoodEvent(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	exchange(b, stream, batch)
	b.ReportMetric(float64(b.N)*512/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkRecord(b *testing.B) {
	w := gatewaytest.NewWorld(b)
	event := gatewaytest.GoodEvent(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.Metrics().Record(b.Context(), event); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPostHolds is a body of 100,000 lines; an operation is one line.
func BenchmarkPostHolds(b *testing.B) {
	w := gatewaytest.NewWorld(b)
	const lines = 100_000
	var body bytes.Buffer
	for i := range lines {
		body.WriteString(gatewaytest.GoodLine(i) + "\n")
	}
	b.SetBytes(int64(body.Len() / lines))
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= lines {
		resp, err := http.Post(w.Url+"/holds", "application/x-ndjson", bytes.NewReader(body.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s, %v", resp.Status, answer, err)
		}
	}
	b.ReportMetric(float64((b.N+lines-1)/lines*lines)/b.Elapsed().Seconds(), "events/s")
}
