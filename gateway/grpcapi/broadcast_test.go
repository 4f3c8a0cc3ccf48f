package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/grpcapi"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

func TestBroadcastKeepsOrderAndNeighbours(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	notUTF8 := append([]byte{0x0a, 2, 0xff, 0xfe}, fakes.Marshal(&holdpb.HoldMsg{HolderId: "h", Start: fakes.Seconds(1)})...)
	bad := map[int]struct {
		bytes []byte
		field string
	}{
		0:    {fakes.Marshal(&holdpb.HoldMsg{HolderId: "h", Start: fakes.Seconds(1)}), "token_id"},
		1:    {notUTF8, "token_id"},
		7:    {[]byte{0x0a, 0x7f, 1}, ""}, // says 127 bytes, has one
		8:    {nil, "token_id"},           // an empty message
		500:  {fakes.Marshal(&holdpb.HoldMsg{TokenId: "t", HolderId: "h", Start: fakes.Seconds(5), End: fakes.Seconds(4)}), "end"},
		501:  {fakes.Marshal(&holdpb.HoldMsg{TokenId: "t", HolderId: "h", Start: fakes.Seconds(5), Weight: -1}), "weight"},
		1999: {fakes.Marshal(&holdpb.HoldMsg{TokenId: "t", HolderId: "h", Start: fakes.Seconds(5), WeightExact: "1e5"}), "weight_exact"},
	}
	const n = 2000
	stream := gatewaytest.RawStream(t, w, holdpb.HoldMetrics_Broadcast_FullMethodName)
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := range n {
			raw := &gatewaytest.RawBytes{Bytes: bad[i].bytes}
			if _, ok := bad[i]; !ok {
				raw.Bytes = fakes.Marshal(gatewaytest.GoodEvent(i))
			}
			if err := stream.SendMsg(raw); err != nil {
				t.Errorf("send %d: %v", i, err)
				return
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	})
	defer sender.Wait()
	for i := range n {
		var ack holdpb.HoldAck
		if err := stream.RecvMsg(&ack); err != nil {
			t.Fatalf("ack %d: %v", i, err)
		}
		want, isBad := bad[i]
		if ack.GetOk() == isBad || ack.GetField() != want.field || (ack.GetError() == "") == isBad || (ack.GetPosition() == 0) != isBad {
			t.Fatalf("ack %d: %v, want a refusal of %q: %v", i, &ack, want.field, isBad)
		}
	}
	if err := stream.RecvMsg(new(holdpb.HoldAck)); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last ack: %v", err)
	}
	// An ack names a position that the log has, and no good event is missing.
	if got := len(gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))); got != n-len(bad) {
		t.Fatalf("the log has %d events, want %d", got, n-len(bad))
	}
}

func TestBroadcastOfManyClients(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			stream, err := w.Metrics().Broadcast(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 200 {
				m := gatewaytest.GoodEvent(i)
				if i%2 == 1 {
					m.TokenId = ""
				}
				m.HoldId = fmt.Sprintf("%d-%d", c, i)
				if err := stream.Send(m); err != nil {
					t.Error(err)
					return
				}
			}
			stream.CloseSend()
			for i := range 200 {
				ack, err := stream.Recv()
				if err != nil || ack.GetOk() != (i%2 == 0) {
					t.Errorf("client %d, ack %d: %v, %v", c, i, ack, err)
					return
				}
			}
		})
	}
	clients.Wait()
	if got := len(gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))); got != 800 {
		t.Fatalf("the log has %d events", got)
	}
}

// A client that does not wait for half-close gets each ack while it sends.
func TestBroadcastAnswersALoneEvent(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	stream, err := w.Metrics().Broadcast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := stream.Send(gatewaytest.GoodEvent(i)); err != nil {
			t.Fatal(err)
		}
		if ack, err := stream.Recv(); err != nil || !ack.GetOk() {
			t.Fatalf("ack %d: %v, %v", i, ack, err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestBroadcastEndsWhereTheLogFails(t *testing.T) {
	t.Parallel()
	for want, cause := range map[codes.Code]error{
		codes.ResourceExhausted: fmt.Errorf("%w (waited)", ingest.ErrBusy),
		codes.Unavailable:       &ingest.NotAcknowledgedError{Cause: errors.New("no responders")},
	} {
		t.Run(want.String(), func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = &fakes.Producer{Err: cause} })
			stream, err := w.Metrics().Broadcast(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*holdpb.HoldMsg{{}, gatewaytest.GoodEvent(1)} {
				if err := stream.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			if ack, err := stream.Recv(); err != nil || ack.GetField() != "token_id" {
				t.Fatalf("what came before the failure: %v, %v", ack, err)
			}
			// The client neither sends more nor half-closes; the stream ends by itself.
			if _, err := stream.Recv(); status.Code(err) != want {
				t.Fatalf("got %v, want %v", err, want)
			}
			batches, err := w.Metrics().BroadcastBatch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := batches.Send(&holdpb.HoldBatch{Events: []*holdpb.HoldMsg{gatewaytest.GoodEvent(1)}}); err != nil {
				t.Fatal(err)
			}
			if _, err := batches.Recv(); status.Code(err) != want {
				t.Fatalf("batch: got %v, want %v", err, want)
			}
		})
	}
}

// A client whose acks do not come, or who does not read them, has its own stream
// held up and no other. What it may have in flight is bounded.
func TestSlowBroadcastHoldsUpNobody(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kept []func()
	p := &fakes.Producer{Hold: func(done func()) {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, done)
	}}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p })
	ctx, cancel := context.WithCancel(t.Context())
	slow, err := w.Metrics().Broadcast(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const sent = grpcapi.BroadcastInFlight + 100
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := range sent {
			if slow.Send(gatewaytest.GoodEvent(i)) != nil {
				return
			}
		}
	})
	for { // another client is served all the while, as often as one likes
		if ack, err := w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1)); err != nil || !ack.GetOk() {
			t.Fatalf("%v, %v", ack, err)
		}
		mu.Lock()
		n := len(kept)
		mu.Unlock()
		if n == grpcapi.BroadcastInFlight {
			break
		}
	}
	mu.Lock()
	if len(kept) != grpcapi.BroadcastInFlight {
		t.Fatalf("%d events of one stream are in flight", len(kept))
	}
	mu.Unlock()
	cancel()
	sender.Wait()
	if _, err := slow.Recv(); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	for _, done := range kept { // answers that come when nobody waits for them any more
		done()
	}
}
