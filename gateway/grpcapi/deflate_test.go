package grpcapi_test

import (
	"testing"

	"google.golang.org/grpc"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	holdpb "holdmetrics/proto"
)

// Clients that compress are served, and are answered in kind.
func TestCompressedCalls(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gzip", "deflate", "identity"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.TestStats()...) })
			if ack, err := w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1), grpc.UseCompressor(name)); err != nil || !ack.Ok {
				t.Error(ack, err)
			}
			stats, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{}, grpc.UseCompressor(name)))
			if err != nil || len(stats) != 2 {
				t.Error(stats, err)
			}
			stream, err := w.Metrics().Broadcast(t.Context(), grpc.UseCompressor(name))
			for i := range 3 {
				if err == nil {
					err = stream.Send(gatewaytest.GoodEvent(i))
				}
			}
			for range 3 {
				var ack *holdpb.HoldAck
				if err == nil {
					ack, err = stream.Recv()
				}
				if err != nil || !ack.Ok {
					t.Fatal(ack, err)
				}
			}
		})
	}
}
