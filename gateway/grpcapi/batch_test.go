package grpcapi_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/grpcapi"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

func TestBroadcastBatch(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	stream := gatewaytest.RawStream(t, w, holdpb.HoldMetrics_BroadcastBatch_FullMethodName)
	event := func(batch, e []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(batch, 1, protowire.BytesType), e)
	}
	good := fakes.Marshal(gatewaytest.GoodEvent(1))
	mixed := event(nil, good)
	mixed = event(mixed, []byte{0x0a, 0x7f})                                                    // 1: does not decode
	mixed = protowire.AppendVarint(protowire.AppendTag(mixed, 9, protowire.VarintType), 5)      // a field of a later version
	mixed = event(mixed, fakes.Marshal(&holdpb.HoldMsg{TokenId: "t", Start: fakes.Seconds(1)})) // 2: no holder
	mixed = event(mixed, good)
	mixed = event(mixed, []byte{0x0a, 1, 0xff}) // 4: not UTF-8
	mixed = event(mixed, fakes.Marshal(gatewaytest.GoodEvent(2)))
	full := []byte(nil)
	for i := range 5000 {
		full = event(full, fakes.Marshal(gatewaytest.GoodEvent(i)))
	}
	for _, b := range [][]byte{mixed, nil, full} {
		if err := stream.SendMsg(&gatewaytest.RawBytes{Bytes: b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	recv := func() *holdpb.HoldBatchAck {
		t.Helper()
		ack := new(holdpb.HoldBatchAck)
		if err := stream.RecvMsg(ack); err != nil {
			t.Fatal(err)
		}
		return ack
	}
	ack := recv()
	if ack.GetAccepted() != 3 || ack.GetPosition() == 0 || len(ack.GetRefused()) != 3 {
		t.Fatalf("mixed: %v", ack)
	}
	for i, want := range []struct {
		index uint32
		field string
	}{{1, ""}, {2, "holder_id"}, {4, "token_id"}} {
		r := ack.GetRefused()[i]
		if r.GetIndex() != want.index || r.GetField() != want.field || r.GetError() == "" {
			t.Errorf("refusal %d: %v", i, r)
		}
	}
	if ack := recv(); ack.GetAccepted() != 0 || len(ack.GetRefused()) != 0 {
		t.Fatalf("empty: %v", ack)
	}
	if ack := recv(); ack.GetAccepted() != 5000 {
		t.Fatalf("full: %v", ack)
	}
	if err := stream.RecvMsg(new(holdpb.HoldBatchAck)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got := len(gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))); got != 5003 {
		t.Fatalf("the log has %d events", got)
	}
}

// A batch that is damaged as a whole is not taken in half.
func TestDamagedBatch(t *testing.T) {
	t.Parallel()
	p := &fakes.Producer{}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p })
	stream := gatewaytest.RawStream(t, w, holdpb.HoldMetrics_BroadcastBatch_FullMethodName)
	damaged := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), fakes.Marshal(gatewaytest.GoodEvent(1)))
	if err := stream.SendMsg(&gatewaytest.RawBytes{Bytes: append(damaged, 0x0a, 0x7f)}); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(holdpb.HoldBatchAck)); status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	if p.Took != 0 {
		t.Fatalf("%d events were taken", p.Took)
	}
}

// The events of one message are bounded, empty ones too, so that what it costs is.
// The answer to as many as there may be is one that clients take by default.
func TestLongBatch(t *testing.T) {
	t.Parallel()
	p := &fakes.Producer{}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p })
	batch := bytes.Repeat([]byte{0x0a, 0}, grpcapi.MaxBatchEvents+1)
	stream := gatewaytest.RawStream(t, w, holdpb.HoldMetrics_BroadcastBatch_FullMethodName)
	for _, b := range [][]byte{batch[2:], batch} {
		if err := stream.SendMsg(&gatewaytest.RawBytes{Bytes: b}); err != nil {
			t.Fatal(err)
		}
	}
	ack := new(holdpb.HoldBatchAck)
	if err := stream.RecvMsg(ack); err != nil || len(ack.GetRefused()) != grpcapi.MaxBatchEvents {
		t.Fatalf("%d were refused, %v", len(ack.GetRefused()), err)
	}
	if err := stream.RecvMsg(ack); status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	if p.Took != 0 {
		t.Fatalf("%d events were taken", p.Took)
	}
}

// A batch of as many events as it may have, all fields of which are as long as they
// may be, is taken. One event more is refused for its number.
func TestBroadcastBatchTakesTheLargestBatch(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	id := func(c string) string { return strings.Repeat(c, 256) }
	longest := fakes.Marshal(&holdpb.HoldMsg{
		TokenId: id("t"), HolderId: id("h"), HoldId: id("i"), Revision: 1<<64 - 1, Weight: 1.5,
		WeightExact: strings.Repeat("9", 37) + "." + strings.Repeat("9", 18),
		Start:       &timestamppb.Timestamp{Seconds: 1600000000, Nanos: 999999999},
		End:         &timestamppb.Timestamp{Seconds: 1600000001, Nanos: 999999999},
	})
	var batch []byte
	for range grpcapi.MaxBatchEvents {
		batch = protowire.AppendBytes(protowire.AppendTag(batch, 1, protowire.BytesType), longest)
	}
	for _, c := range []struct {
		batch []byte
		code  codes.Code
	}{
		{batch, codes.OK},
		{protowire.AppendBytes(protowire.AppendTag(slices.Clone(batch), 1, protowire.BytesType), longest), codes.InvalidArgument},
	} {
		stream := gatewaytest.RawStream(t, w, holdpb.HoldMetrics_BroadcastBatch_FullMethodName)
		if err := stream.SendMsg(&gatewaytest.RawBytes{Bytes: c.batch}); err != nil {
			t.Fatal(err)
		}
		ack := new(holdpb.HoldBatchAck)
		err := stream.RecvMsg(ack)
		if status.Code(err) != c.code || err == nil && ack.GetAccepted() != grpcapi.MaxBatchEvents {
			t.Errorf("%d bytes: %v, %d accepted", len(c.batch), err, ack.GetAccepted())
		}
	}
}
