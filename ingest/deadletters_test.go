package ingest

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
)

func deadLettersOf(t *testing.T, l *Log) []DeadLetter {
	t.Helper()
	var all []DeadLetter
	for d, err := range l.DeadLetters().All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// A dead letter that was resolved stays so, even if it is published again after a crash,
// and its event is still to be had from the log.
func TestResolvedDeadLetterStaysResolved(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if got := deadLettersOf(t, l); len(got) != 0 {
		t.Fatalf("dead letters of an empty log: %v", got)
	}
	var w FrameWriter
	first, second := open("gold", "alice", 1), open("gold", "bob", 1)
	w.AppendDraft(&first)
	w.AppendDraft(&second)
	ack, err := l.js.Publish(t.Context(), LogSubject(3), w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	bytes := AppendEvent(nil, &second)
	d := DeadLetter{Partition: 3, Sequence: ack.Sequence, Index: 1, Reason: "too early", Kind: "future", Field: "start", Data: bytes}
	other := DeadLetter{Partition: 3, Sequence: ack.Sequence, Index: 0, Reason: "other", Data: []byte("x")}
	for _, deadLetter := range []DeadLetter{d, other} {
		if err := l.DeadLetters().Publish(t.Context(), deadLetter); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{DeadLetterRetried, DeadLetterDropped} {
		if err := l.DeadLetters().Resolve(t.Context(), d, how); err != nil {
			t.Fatal(err)
		}
		if err := l.DeadLetters().Publish(t.Context(), d); err != nil { // a tail that is applied again
			t.Fatal(err)
		}
		got, err := l.DeadLetters().Get(t.Context(), DeadLetter{Partition: 3, Sequence: ack.Sequence, Index: 1})
		if err != nil || got.Outcome != how || got.Reason != "too early" || got.Kind != "future" || got.Field != "start" || len(got.Data) != 0 || got.Size != len(bytes) {
			t.Fatalf("resolved dead letter %+v, %v", got, err)
		}
		whole, err := l.DeadLetters().Whole(t.Context(), got)
		var draft hold.Draft
		if err != nil || whole.Decode(&draft) != nil || draft != second {
			t.Fatalf("event %+v, %v", draft, err)
		}
	}
	all := deadLettersOf(t, l)
	if len(all) != 2 || all[0].Outcome != "" || all[0].ID() != other.ID() || all[1].Outcome != DeadLetterDropped {
		t.Errorf("dead letters %+v", all)
	}
	if _, err := l.DeadLetters().Get(t.Context(), DeadLetter{Sequence: 99}); !errors.Is(err, ErrNoDeadLetter) || !strings.Contains(err.Error(), "0.99.0") {
		t.Errorf("no dead letter: %v", err)
	}
}

// Anybody may publish to the stream; what is no dead letter is passed over.
func TestStrangeDeadLettersAreSkipped(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	for _, subject := range []string{"hold.dlq.x", "hold.dlq.1.2.3.4", "hold.dlq.01.2.3"} {
		if _, err := l.js.Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeadLetters().Publish(t.Context(), DeadLetter{Partition: 1, Sequence: 2}); err != nil {
		t.Fatal(err)
	}
	if got := deadLettersOf(t, l); len(got) != 1 || got[0].ID() != "1.2.0" {
		t.Errorf("dead letters %+v", got)
	}
	if _, err := l.DeadLetters().Whole(t.Context(), DeadLetter{Truncated: true, Sequence: 2}); err == nil {
		t.Error("the whole of what the log does not have")
	}
}

func TestDeadLetterID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "1", "1.2", "1.2.3.4", "a.2.3", "-1.2.3", "1.2.03", "+1.2.3", "1.2.99999999999"} {
		if _, err := ParseDeadLetterID(id); !errors.Is(err, ErrDeadLetter) {
			t.Errorf("%q: %v", id, err)
		}
	}
	d, err := ParseDeadLetterID("3.18446744073709551615.511")
	if err != nil || d.Partition != 3 || d.Sequence != 1<<64-1 || d.Index != 511 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDecodeDeadLetter(t *testing.T) {
	t.Parallel()
	want := open("gold", "alice", 100)
	for name, c := range map[string]struct {
		deadLetter DeadLetter
		err        error
	}{
		"protobuf": {DeadLetter{Data: AppendEvent(nil, &want)}, nil},
		"JSON":     {DeadLetter{ContentType: JSONContentType, Data: []byte(`{"token_id":"gold","holder_id":"alice","start":100}`)}, nil},
		"cut":      {DeadLetter{Truncated: true, Size: 100}, ErrMalformed},
		"frame":    {DeadLetter{Data: []byte{0, 'H', 9}}, ErrFrame},
		"garbage":  {DeadLetter{Data: []byte("garbage")}, ErrMalformed},
	} {
		var got hold.Draft
		if err := c.deadLetter.Decode(&got); !errors.Is(err, c.err) || c.err == nil && got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Entries and Judge say of a message what the processor does with it.
func TestMessageEntries(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	alice := open("gold", "alice", 100)
	home := Partition("alice", l.Partitions())
	early := open("gold", "alice", now/1e9+5*60+61)
	var w FrameWriter
	w.AppendDraft(&alice)
	w.AppendDraft(&early)
	frame := append([]byte(nil), w.Bytes()...)
	json := nats.Header{ContentTypeHeader: {JSONContentType}}
	for name, c := range map[string]struct {
		m    Message
		want []error
	}{
		"frame":           {Message{Partition: home, Data: frame}, []error{nil, hold.ErrFuture}},
		"damaged frame":   {Message{Partition: home, Data: append(frame[:len(frame):len(frame)], 9)}, []error{nil, hold.ErrFuture, ErrFrame}},
		"empty frame":     {Message{Partition: home, Data: []byte{0, 'H', 1}}, nil},
		"lone event":      {Message{Partition: home, Data: AppendEvent(nil, &alice)}, []error{nil}},
		"other partition": {Message{Partition: home + 1, Data: AppendEvent(nil, &alice)}, []error{ErrPartition}},
		"JSON":            {Message{Partition: home, JSON: IsJSON(json), Data: []byte(`{"token_id":"gold","holder_id":"alice","start":100}`)}, []error{nil}},
		"JSON, no frame":  {Message{Partition: home, JSON: true, Data: frame}, []error{ErrMalformed}},
	} {
		c.m.Time, c.m.Position = now, 1
		var got []error
		for e := range c.m.Entries() {
			if e.Index != len(got) {
				t.Errorf("%s: index %d of entry %d", name, e.Index, len(got))
			}
			_, err := l.Judge(&c.m, &e)
			got = append(got, err)
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: %v, want %v", name, got, c.want)
		}
		for i := range got {
			if !errors.Is(got[i], c.want[i]) {
				t.Errorf("%s: entry %d: %v, want %v", name, i, got[i], c.want[i])
			}
		}
	}
}

// Where the log was created again and its dead letters were kept, a dead letter of the old one is no
// dead letter of an event in the same place: the new one takes its place, in any order of publishing
// it, and the log's check wants it.
func TestDeadLettersOfAnotherLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ack, err := l.js.Publish(t.Context(), LogSubject(3), []byte{0xff})
	if err != nil {
		t.Fatal(err)
	}
	fresh := DeadLetter{Partition: 3, Sequence: ack.Sequence, Reason: "new", Origin: l.DeadLetters().Origin(3), Data: []byte{0xff}}
	old := fresh
	old.Reason, old.Origin, old.Data = "old", "log another hold.log.3", []byte("old event")
	for _, outcome := range []string{"", DeadLetterRetried} {
		if outcome == "" {
			err = l.DeadLetters().Publish(t.Context(), old)
		} else {
			err = l.DeadLetters().Resolve(t.Context(), old, outcome)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, all := faults(t, l, -1); len(all) != 1 || !strings.Contains(all[0], "no dead letter says so") {
			t.Errorf("outcome %q: faults %q", outcome, all)
		}
		got, err := l.DeadLetters().Get(t.Context(), fresh)
		if err != nil || got.Outcome != outcome {
			t.Fatalf("%+v, %v", got, err)
		}
		if outcome != "" { // the event that this log has there is not the dead letter's
			if whole, err := l.DeadLetters().Whole(t.Context(), got); !errors.Is(err, ErrNoDeadLetter) {
				t.Errorf("%+v, %v", whole, err)
			}
		}
		var publishing errgroup.Group
		for range 4 {
			publishing.Go(func() error { return l.DeadLetters().Publish(t.Context(), fresh) })
		}
		if err := publishing.Wait(); err != nil {
			t.Fatal(err)
		}
		if got, err = l.DeadLetters().Get(t.Context(), fresh); err != nil || got.Reason != "new" || got.Outcome != "" || string(got.Data) != "\xff" {
			t.Fatalf("after %q: %+v, %v", outcome, got, err)
		}
		if _, all := faults(t, l, -1); len(all) != 0 {
			t.Errorf("faults %q", all)
		}
	}
	if err := l.DeadLetters().Resolve(t.Context(), fresh, DeadLetterDropped); err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{fresh.Origin, ""} { // of this log, or of any
		again := fresh
		again.Origin = origin
		if err := l.DeadLetters().Publish(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if got, err := l.DeadLetters().Get(t.Context(), fresh); err != nil || got.Outcome != DeadLetterDropped {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}
