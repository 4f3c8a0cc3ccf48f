package test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"google.golang.org/grpc"

	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

// originalStat is the HoldStat of the original service, which existing clients
// were generated from: four fields and nothing else.
func originalStat(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	var file descriptorpb.FileDescriptorProto
	err := prototext.Unmarshal([]byte(`
		name: "original.proto" package: "poh" syntax: "proto3"
		dependency: "google/protobuf/timestamp.proto"
		message_type {
			name: "HoldStat"
			field { name: "holder_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
			field { name: "total_seconds" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
			field { name: "weighted_score" number: 3 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
			field { name: "updated_at" number: 4 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
		}`), &file)
	if err != nil {
		t.Fatal(err)
	}
	// The global registry gives the Timestamp; the file itself is registered nowhere.
	desc, err := protodesc.NewFile(&file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return desc.Messages().ByName("HoldStat")
}

// originalStats calls Stats as an existing client does.
func originalStats(t *testing.T, s *server) []*dynamicpb.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := s.dial().NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/poh.HoldMetrics/Stats")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(new(emptypb.Empty)); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	desc := originalStat(t)
	var all []*dynamicpb.Message
	for {
		m := dynamicpb.NewMessage(desc)
		err := stream.RecvMsg(m)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// awaitHolders calls Stats until it tells of n holders: snapshots follow the log
// by themselves, and Stats does not wait for them.
func awaitHolders(t *testing.T, s *server, n int) []*dynamicpb.Message {
	t.Helper()
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bucket, err := js.KeyValue(ctx, "HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := bucket.WatchAll(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = changes.Stop() }()
	for {
		all := originalStats(t, s)
		complete := len(all) == n
		for _, m := range all {
			complete = complete && text(m, "holder_id") != ""
		}
		if complete {
			return all
		}
		select {
		case <-changes.Updates():
		case <-ctx.Done():
			t.Fatalf("%d holders, want %d", len(all), n)
		}
	}
}

func text(m *dynamicpb.Message, field protoreflect.Name) string {
	return m.Get(m.Descriptor().Fields().ByName(field)).String()
}

func TestClientOfTheOriginalProto(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	before := originalStats(t, s)
	if len(before) != 1 || text(before[0], "holder_id") != "" || len(before[0].GetUnknown()) != 0 {
		t.Errorf("before the first event Stats gives %v, want one empty HoldStat", before)
	}

	client := holdpb.NewHoldMetricsClient(s.dial())
	ack, err := client.Record(t.Context(), &holdpb.HoldMsg{
		TokenId: "T", HolderId: "a", Weight: 2.5,
		Start: &timestamppb.Timestamp{Seconds: 100}, End: &timestamppb.Timestamp{Seconds: 110},
	})
	if err != nil || !ack.GetOk() {
		t.Fatalf("Record: %v, %v", ack, err)
	}
	m := awaitHolders(t, s, 1)[0]
	if text(m, "holder_id") != "a" || text(m, "total_seconds") != "10" || text(m, "weighted_score") != "25" {
		t.Errorf("Stats gives %v", m)
	}
}

func TestBroadcastWithABadEventAmongGoodOnes(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	stream, err := holdpb.NewHoldMetricsClient(s.dial()).Broadcast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
	for _, m := range []*holdpb.HoldMsg{
		{TokenId: "T", HolderId: "a", Start: at(100), End: at(110)},
		{TokenId: "T", HolderId: "a", Start: at(200), End: at(190)},
		{TokenId: "T", HolderId: "b", Start: at(100), End: at(120), Weight: 2},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []*holdpb.HoldAck
	for {
		ack, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ack)
	}
	if len(got) != 3 || !got[0].GetOk() || got[1].GetOk() || !got[2].GetOk() || !strings.Contains(got[1].GetError(), "end is before start") {
		t.Errorf("the acks are %v", got)
	}
	wantSame(t, "stats", s.stats("1000"), "token_id,holder_id,score,held_seconds,settled_score,settled_held_seconds,weight,rate\nT,a,10,10,10,10,0,0\nT,b,40,20,40,20,0,0\n")
}

// TestPlainNATSClient publishes as any NATS client may: good and bad events, as
// protobuf and as JSON. The bad ones are in the dead letters, with their reason.
func TestPlainNATSClient(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	good, err := proto.Marshal(&holdpb.HoldMsg{TokenId: "T", HolderId: "alice", Start: &timestamppb.Timestamp{Seconds: 100}, End: &timestamppb.Timestamp{Seconds: 110}})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := proto.Marshal(&holdpb.HoldMsg{TokenId: "T", HolderId: "alice", Start: &timestamppb.Timestamp{Seconds: 100}})
	if err != nil {
		t.Fatal(err)
	}
	asJSON := nats.Header{"Content-Type": []string{"application/json"}}
	for _, m := range []*nats.Msg{
		{Subject: "hold.events.alice", Data: good},
		{Subject: "hold.events.alice", Header: asJSON, Data: []byte(`{"token_id":"T","holder_id":"alice","start":200,"end":"1970-01-01T00:03:30Z","weight_exact":"0.5"}`)},
		{Subject: "hold.events.alice", Data: []byte("\xff\xff")},                                                       // no protobuf
		{Subject: "hold.events.alice", Header: asJSON, Data: []byte(`{"token_id":"T","holder_id":"alice","end":-1}`)},  // no time
		{Subject: "hold.events.bob", Data: stranger},                                                                   // another partition's holder
		{Subject: "hold.events.=YSBi", Header: asJSON, Data: []byte(`{"token_id":"T","holder_id":"a b","start":300}`)}, // a holder with a space
	} {
		if _, err := js.PublishMsg(ctx, m); err != nil {
			t.Fatalf("%s: %v", m.Subject, err)
		}
	}

	// The stats come after everything that the log had, so the dead letters are there too.
	wantSame(t, "stats", s.stats("310"), "token_id,holder_id,score,held_seconds,settled_score,settled_held_seconds,weight,rate\nT,a b,10,10,0,0,1,1\nT,alice,15,20,15,20,0,0\n")

	deadLetters, err := js.OrderedConsumer(ctx, "HOLD_DLQ", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for range 3 {
		m, err := deadLetters.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatalf("after %d dead letters: %v", len(reasons), err)
		}
		if !strings.HasPrefix(m.Subject(), "hold.dlq.") {
			t.Errorf("a dead letter on %s", m.Subject())
		}
		header, err := json.Marshal(m.Headers())
		if err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, string(header))
	}
	all := strings.Join(reasons, "\n")
	for _, want := range []string{"end", "partition"} {
		if !strings.Contains(all, want) {
			t.Errorf("no dead letter speaks of %q:\n%s", want, all)
		}
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.http+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(text))
	}
	if code, body := call("GET", "/stats", ""); code != 200 || body != "[]" {
		t.Errorf("stats before the first event: %d %s", code, body)
	}
	if code, body := call("POST", "/hold", `{"token_id":"T","holder_id":"a","start":"1970-01-01T00:01:40Z","end":"1970-01-01T00:01:50Z","weight":2.5}`); code != 202 || !strings.Contains(body, `"status":"accepted"`) {
		t.Errorf("a good event: %d %s", code, body)
	}
	if code, body := call("POST", "/hold", `{"token_id":"T","holder_id":"a"}`); code != 422 || !strings.Contains(body, "start") {
		t.Errorf("a bad event: %d %s", code, body)
	}
	if code, body := call("GET", "/stats/a?as_of=105", ""); code != 200 || !strings.Contains(body, "12.5") {
		t.Errorf("a holder: %d %s", code, body)
	}
	if code, _ := call("GET", "/stats/nobody", ""); code != 404 {
		t.Errorf("an unknown holder: %d", code)
	}
	if code, body := call("GET", "/healthz", ""); code != 200 || body != `{"status":"healthy"}` {
		t.Errorf("healthz: %d %s", code, body)
	}
	// The snapshots of the last event may still be on their way.
	for began := time.Now(); ; testwait.Pause(began) { // another process tells of nothing
		code, body := call("GET", "/readyz", "")
		if code == 200 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("readyz: %d %s", code, body)
		}
	}
	if code, body := call("GET", "/metrics", ""); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d %.80s", code, body)
	}
}
