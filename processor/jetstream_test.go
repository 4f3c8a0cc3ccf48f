package processor

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// startServer runs a server and connects to it. In a test a broker with faults stands
// between them; benchmarks measure the server.
func startServer(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	s := natstest.Start(tb)
	if _, ok := tb.(*testing.T); !ok {
		return natstest.JetStream(tb, s)
	}
	return natstest.JetStream(tb, natstest.Mild(tb, s))
}

// The whole way on a real log: frames and raw messages in, store and bucket out,
// except dead letters, in several runs that each go on where the last one stopped.
func TestOnJetStream(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	js := startServer(t)
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	bucket, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1", Async: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	producer := ingest.NewProducer(log, ingest.ProducerOptions{})
	defer producer.Close(ctx)

	const holders, rounds, runs = 200, 5, 3
	began := time.Now().Add(-time.Hour).UnixNano()
	at := began
	for round := range runs {
		w, err := New(Config{Log: log, Store: store, Snapshots: bucket})
		if err != nil {
			t.Fatal(err)
		}
		runCtx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- w.Run(runCtx) }()

		last := map[int]uint64{}
		for range rounds {
			for i := range holders {
				d := held(fmt.Sprintf("0x%04d", i), "t", at, at+int64(time.Second))
				position, err := producer.Record(ctx, &d)
				if err != nil {
					t.Fatal(err)
				}
				last[ingest.Partition(d.Holder, log.Partitions())] = position
			}
			at += int64(time.Second)
		}
		raw, err := proto.Marshal(ingestMsg("raw:holder", "t", at-int64(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*nats.Msg{
			{Subject: ingest.RawSubject("raw:holder"), Data: raw},
			{Subject: ingest.RawSubject("bad"), Data: fmt.Appendf(nil, "no event %d", round)},
			{
				Subject: ingest.RawSubject("j"), Header: nats.Header{ingest.ContentTypeHeader: {ingest.JSONContentType}},
				Data: []byte(`{"token_id":"t","holder_id":"j","start":1700000000,"end":1700000001}`),
			},
		} {
			if _, err := js.PublishMsg(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		end, err := log.LastPosition(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for p := range log.Partitions() {
			if err := w.WaitApplied(ctx, p, end); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}

	view, err := bucket.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if err := view.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if view.Len() != holders+2 {
		t.Errorf("%d snapshots", view.Len())
	}
	for i := range holders {
		name := fmt.Sprintf("0x%04d", i)
		value, _ := view.Get(ingest.SubjectToken(name))
		var s holdpb.HoldStat
		if err := proto.Unmarshal(value, &s); err != nil || s.HolderId != name || s.TotalSeconds != rounds*runs || s.ScoreExact != fmt.Sprint(rounds*runs) {
			t.Fatalf("holder %s: %v, %v", name, &s, err)
		}
	}
	if n, err := log.DeadLetters().Count(ctx); err != nil || n != runs {
		t.Errorf("%d dead letters, %v", n, err)
	}
	h, err := store.Holder(ctx, ingest.Partition("raw:holder", log.Partitions()), "raw:holder")
	if err != nil || h.Figures.Line.HeldRate != 1 {
		t.Errorf("raw holder %+v, %v", h, err)
	}
	if h, err := store.Holder(ctx, ingest.Partition("j", log.Partitions()), "j"); err != nil || h.Figures.Settled.Held != hold.HeldOf(1e9) {
		t.Errorf("JSON holder %+v, %v", h, err)
	}
}

// A message of garbage as large as the server takes makes a dead letter that is
// larger with its headers. It is cut, and the messages behind it are applied.
func TestLargestGarbageStopsNobody(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	js := startServer(t)
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.NewMemory()
	w, err := New(Config{Log: log, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(runCtx) }()

	most := int(js.Conn().MaxPayload())
	header := nats.Header{ingest.ContentTypeHeader: {ingest.JSONContentType}}
	headed := most - len("NATS/1.0\r\n\r\n") - len(ingest.ContentTypeHeader+": "+ingest.JSONContentType+"\r\n")
	zeros := func(size int) []byte { return append([]byte{0, 'H', 1}, make([]byte, size-3)...) } // a frame of empty events
	var sent [][]byte
	var last uint64
	for i, m := range []*nats.Msg{
		{Data: bytes.Repeat([]byte{0xff}, most)},
		{Data: zeros(most)},
		{Data: bytes.Repeat([]byte{'{'}, headed), Header: header},
		{Data: bytes.Repeat([]byte{0xff}, most-1)},
		{Data: bytes.Repeat([]byte{0xff}, most-100)},
		{Data: bytes.Repeat([]byte{0xff}, most-200)},
		{Data: bytes.Repeat([]byte{0xff}, most-1000)},
	} {
		m.Subject = ingest.RawSubject("stranger")
		if _, err := js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m.Data)
		at := time.Now().Add(-time.Hour).UnixNano()
		good, err := proto.Marshal(ingestMsg(fmt.Sprintf("good-%d", i), "t", at))
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, ingest.RawSubject("neighbour"), good)
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	if err := w.WaitApplied(ctx, 0, last); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	if n, err := log.DeadLetters().Count(ctx); err != nil || int(n) != len(sent) {
		t.Fatalf("%d dead letters of %d, %v", n, len(sent), err)
	}
	for i, data := range sent {
		if _, err := store.Holder(ctx, 0, fmt.Sprintf("good-%d", i)); err != nil {
			t.Errorf("neighbour %d: %v", i, err)
		}
		d, err := log.DeadLetters().Get(ctx, ingest.DeadLetter{Sequence: uint64(2*i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		whole, _ := bytes.CutPrefix(data, []byte{0, 'H', 1}) // of a frame, what could not be read
		if d.Sequence != uint64(2*i+1) || d.Size != len(whole) || d.Truncated != (len(d.Data) < d.Size) || !bytes.HasPrefix(whole, d.Data) {
			t.Errorf("dead letter of message %d: %d bytes of %d, size %d, truncated %t", d.Sequence, len(d.Data), len(whole), d.Size, d.Truncated)
		}
		if want := i < 6; i != 4 && i != 5 && d.Truncated != want {
			t.Errorf("dead letter of message %d: truncated %t", d.Sequence, d.Truncated)
		}
		if len(d.Data) < most-2048 {
			t.Errorf("dead letter of message %d has %d bytes only", d.Sequence, len(d.Data))
		}
	}
}

func ingestMsg(holder, token string, start int64) *holdpb.HoldMsg {
	return &holdpb.HoldMsg{HolderId: holder, TokenId: token, Start: timestamppb.New(time.Unix(0, start))}
}

// On a real log, too, the events of a holder come together whatever case his id was
// sent in, by frames and by raw messages, and go on where a run stopped.
func TestNormalisedHoldersOnJetStream(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{4, 3} { // between 3 case moves holders
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			testNormalisedHolders(t, partitions)
		})
	}
}

func testNormalisedHolders(t *testing.T, partitions int) {
	ctx := context.Background()
	js := startServer(t)
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	producer := ingest.NewProducer(log, ingest.ProducerOptions{})
	defer producer.Close(ctx)
	rules := &someRules{Rules: hold.PlainRules(hold.Sum), version: "lower", named: true}
	store := storetest.NewMemory()
	at := time.Now().Add(-time.Hour).UnixNano()
	const holders, runs = 40, 2
	for range runs {
		w, err := New(Config{Log: log, Store: store, Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		runCtx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- w.Run(runCtx) }()
		for i := range holders {
			at += int64(time.Second)
			upper, mixed := held(fmt.Sprintf("HOLDER-%d", i), "T", at, at+int64(time.Second)), fmt.Sprintf("Holder-%d", i)
			position, err := producer.Record(ctx, &upper)
			if err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 { // a wait for it is at the partition of the normalized holder id
				name := rules.Holder(upper.Holder)
				p := ingest.Partition(name, partitions)
				if err := w.WaitApplied(ctx, p, position); err != nil {
					t.Fatal(err)
				}
				if h := stateOf(t, store, p).holders[name]; h.Position != position {
					t.Fatalf("after position %d: %s is at %d", position, name, h.Position)
				}
			}
			raw, err := proto.Marshal(ingestMsg(mixed, "t", at))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(ctx, ingest.RawSubject(mixed), raw); err != nil {
				t.Fatal(err)
			}
		}
		end, err := log.LastPosition(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for p := range log.Partitions() {
			if err := w.WaitApplied(ctx, p, end); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	events, found := uint64(0), 0
	for p := range log.Partitions() {
		c, _, err := store.Checkpoint(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if events += c.Events; c.Rejected != 0 || c.Position == 0 {
			t.Fatalf("partition %d: %+v", p, c)
		}
		for name, h := range stateOf(t, store, p).holders {
			found++
			if ingest.Partition(name, log.Partitions()) != p || name != strings.ToLower(name) || h.Figures.Settled.Held == (hold.Held{}) {
				t.Errorf("partition %d has %s: %+v", p, name, h)
			}
		}
	}
	if events != 2*holders*runs || found != holders {
		t.Fatalf("%d events of %d holders", events, found)
	}
}
