package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// original is the contract of the service that this one replaces, as its clients
// have it: an Empty request, and HoldStat of four fields.
func original(t *testing.T) (empty, stat protoreflect.MessageDescriptor) {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, message string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), JsonName: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if message != "" {
			f.TypeName = proto.String(message)
		}
		return f
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("original/hold.proto"), Package: proto.String("poh"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/timestamp.proto"},
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Empty")},
			{Name: proto.String("HoldStat"), Field: []*descriptorpb.FieldDescriptorProto{
				field("holder_id", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, ""),
				field("total_seconds", 2, descriptorpb.FieldDescriptorProto_TYPE_INT64, ""),
				field("weighted_score", 3, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, ""),
				field("updated_at", 4, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".google.protobuf.Timestamp"),
			}},
		},
	}, registryOfTimestamps{})
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Empty"), file.Messages().ByName("HoldStat")
}

type registryOfTimestamps struct{}

func (registryOfTimestamps) FindFileByPath(string) (protoreflect.FileDescriptor, error) {
	return timestamppb.File_google_protobuf_timestamp_proto, nil
}

func (registryOfTimestamps) FindDescriptorByName(protoreflect.FullName) (protoreflect.Descriptor, error) {
	return (&timestamppb.Timestamp{}).ProtoReflect().Descriptor(), nil
}

// originalStats calls a method of the original contract.
func originalStats(t *testing.T, w *gatewaytest.World, method string) (stats []*dynamicpb.Message) {
	t.Helper()
	empty, stat := original(t)
	stream, err := w.Conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(empty)); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for {
		m := dynamicpb.NewMessage(stat)
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return stats
		}
		if err != nil {
			t.Fatal(err)
		}
		stats = append(stats, m)
	}
}

func TestOriginalClientReadsStats(t *testing.T) {
	t.Parallel()
	methods := []string{holdpb.HoldMetrics_Stats_FullMethodName, holdpb.HoldMetricsQuery_GetSnapshot_FullMethodName}
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			before := originalStats(t, gatewaytest.NewWorld(t), method)
			if len(before) != 1 || len(fakes.Marshal(before[0])) != 0 {
				t.Fatalf("before the first event: %v, want one empty HoldStat", before)
			}
			got := originalStats(t, gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.TestStats()...) }), method)
			if len(got) != 2 {
				t.Fatalf("got %v", got)
			}
			fields := got[0].Descriptor().Fields()
			if got[0].Get(fields.ByName("holder_id")).String() != "alice" ||
				got[0].Get(fields.ByName("total_seconds")).Int() != 10 ||
				got[0].Get(fields.ByName("weighted_score")).Float() != 25 ||
				!got[0].Has(fields.ByName("updated_at")) {
				t.Fatalf("got %v", got[0])
			}
		})
	}
}

func TestStatsThroughTheBucket(t *testing.T) {
	t.Parallel()
	_, js := gatewaytest.OpenLog(t)
	snapshots, err := projection.OpenSnapshots(t.Context(), js, projection.SnapshotConfig{Generation: "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshots.Close)
	view, err := snapshots.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = view })
	if got := originalStats(t, w, holdpb.HoldMetrics_Stats_FullMethodName); len(got) != 1 || len(fakes.Marshal(got[0])) != 0 {
		t.Fatalf("before the first event: %v", got)
	}
	var entries []projection.Entry
	for _, s := range gatewaytest.TestStats() {
		entries = append(entries, projection.Entry{Key: ingest.SubjectToken(s.GetHolderId()), Value: fakes.Marshal(s)})
	}
	if err := snapshots.Publish(t.Context(), 0, entries, projection.Reached{Position: 7}); err != nil {
		t.Fatal(err)
	}
	if err := view.WaitPosition(t.Context(), 0, 7); err != nil {
		t.Fatal(err)
	}
	stream, err := w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*holdpb.HoldStat{gatewaytest.TestStats()[1], gatewaytest.TestStats()[0]} { // by key: "=" is before "a"
		got, err := stream.Recv()
		if got.GetLiveScore() == "" || got.GetLiveHeld() == "" || got.GetAsOf() == nil {
			t.Fatalf("no live figures: %v, %v", got, err)
		}
		if !proto.Equal(got.AppliedThrough, want.UpdatedAt) { // the partition said nothing of its own
			t.Errorf("applied through %v", got.AppliedThrough)
		}
		got.LiveScore, got.LiveScoreDouble, got.LiveHeld, got.AsOf, got.AppliedThrough = "", 0, "", nil, nil
		if err != nil || !proto.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestStatsWaitsForTheFirstLoad(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.TestStats()...)
	snapshots.Ready = make(chan struct{})
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	ctx, cancel := context.WithCancel(t.Context())
	impatient, err := w.Metrics().Stats(ctx, &holdpb.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := impatient.Recv(); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	patient, err := w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	close(snapshots.Ready)
	if got, err := patient.Recv(); err != nil || got.GetHolderId() != "alice" {
		t.Fatalf("%v, %v", got, err)
	}
	for {
		if _, err := patient.Recv(); err != nil {
			break
		}
	}
	snapshots.Fail(projection.ErrClosed)
	closed, err := w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := closed.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
}

// A client that asks for everything and reads nothing holds up no other.
func TestSlowStatsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	var stats []*holdpb.HoldStat
	for i := range 4000 {
		stats = append(stats, &holdpb.HoldStat{HolderId: fmt.Sprintf("holder-%06d", i), Rules: strings.Repeat("9", 1000)})
	}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(stats...) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 4 {
		if _, err := w.Metrics().Stats(ctx, &holdpb.StatsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	slow, err := http.Get(w.Url + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	if got := originalStats(t, w, holdpb.HoldMetrics_Stats_FullMethodName); len(got) != len(stats) {
		t.Fatalf("got %d", len(got))
	}
	if got := gatewaytest.Get(t, w, "/stats", http.StatusOK); bytes.Count(got, []byte("holder-")) != len(stats) {
		t.Fatalf("got %d bytes", len(got))
	}
}
