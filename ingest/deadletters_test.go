package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
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
	event := AppendEvent(nil, &second)
	d := DeadLetter{Partition: 3, Sequence: ack.Sequence, Index: 1, Reason: "too early", Kind: "future", Field: "start", Data: event}
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
		if err != nil || got.Outcome != how || got.Reason != "too early" || got.Kind != "future" || got.Field != "start" || len(got.Data) != 0 || got.Size != len(event) {
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

// deadLettersOfFrame are the dead letters of n events of one frame of a log.
func deadLettersOfFrame(l *Log, position uint64, n int) []DeadLetter {
	out := make([]DeadLetter, n)
	for i := range out {
		data := AppendEvent(nil, &hold.Draft{Token: "gold", Holder: fmt.Sprintf("h%d", i)})
		out[i] = DeadLetter{
			Partition: 3, Sequence: position, Index: i, Framed: true, Reason: "start is required", Kind: "required", Field: "start",
			Origin: l.DeadLetters().Origin(3), Data: data, Size: len(data),
		}
	}
	return out
}

// deadLetterMessagesOf is how many messages the stream of dead letters has, and how many it ever had.
func deadLetterMessagesOf(t *testing.T, l *Log) (now, ever uint64) {
	t.Helper()
	s, err := l.js.Stream(t.Context(), DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	return state.Msgs, state.LastSeq
}

// The dead letters of a frame are one message, however often they are published and by
// however many at once, and are read, resolved and published again as others are.
func TestDeadLettersOfAFrame(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	all := deadLettersOfFrame(l, 7, MaxFrameEvents)
	var publishing errgroup.Group
	for i := range 4 { // two partitions may each refuse a part of a frame, and both may begin again
		publishing.Go(func() error { return l.DeadLetters().PublishAll(t.Context(), all[i%2*100:i%2*100+300]) })
	}
	if err := publishing.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := l.DeadLetters().PublishAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	now, ever := deadLetterMessagesOf(t, l)
	if now != 1 || ever > 3 {
		t.Errorf("%d messages, %d were written", now, ever)
	}
	if got := deadLettersOf(t, l); !reflect.DeepEqual(got, all) {
		t.Fatalf("%d dead letters, such as %+v", len(got), got[0])
	}
	got, err := l.DeadLetters().Get(t.Context(), DeadLetter{Partition: 3, Sequence: 7, Index: 200})
	if err != nil || !reflect.DeepEqual(got, all[200]) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := l.DeadLetters().Get(t.Context(), DeadLetter{Partition: 3, Sequence: 7, Index: MaxFrameEvents}); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("one that there is not: %v", err)
	}
	var resolving errgroup.Group
	for i := range 8 {
		resolving.Go(func() error {
			n, err := l.DeadLetters().ResolveAll(t.Context(), all[i*50:(i+1)*50], DeadLetterDropped)
			if err == nil && n != 50 {
				return fmt.Errorf("%d were resolved", n)
			}
			return err
		})
	}
	if err := resolving.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := l.DeadLetters().PublishAll(t.Context(), all); err != nil { // a tail that is applied again
		t.Fatal(err)
	}
	resolved := 0
	for _, d := range deadLettersOf(t, l) {
		if (d.Outcome == DeadLetterDropped) != (d.Index < 400) || (len(d.Data) == 0) != (d.Index < 400) || d.Size != len(all[d.Index].Data) {
			t.Errorf("%+v", d)
		}
		if d.Outcome != "" {
			resolved++
		}
	}
	if resolved != 400 {
		t.Errorf("%d are resolved", resolved)
	}
	now, _ = deadLetterMessagesOf(t, l)
	if now != 1 {
		t.Errorf("%d messages", now)
	}
}

// Dead letters of a frame that an earlier version stored one by one stay as they are.
func TestDeadLettersOfAFrameFromAnEarlierVersion(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	all := deadLettersOfFrame(l, 7, 5)
	for i := range 3 {
		if err := l.DeadLetters().Publish(t.Context(), all[i]); err != nil {
			t.Fatal(err)
		}
	}
	lone := all[1]
	lone.Framed = false // as it is read
	if err := l.DeadLetters().Resolve(t.Context(), lone, DeadLetterRetried); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.DeadLetters().PublishAll(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	outcomes := map[int]string{}
	for _, d := range deadLettersOf(t, l) {
		if _, twice := outcomes[d.Index]; twice || d.Framed != (d.Index >= 3) {
			t.Errorf("again, or where it does not belong: %+v", d)
		}
		outcomes[d.Index] = d.Outcome
	}
	if want := map[int]string{0: "", 1: DeadLetterRetried, 2: "", 3: "", 4: ""}; !reflect.DeepEqual(outcomes, want) {
		t.Errorf("%v", outcomes)
	}
}

// Dead letters of a frame of a log that was created again take the place of the old ones.
func TestDeadLettersOfAFrameOfAnotherLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	all := deadLettersOfFrame(l, 7, 3)
	old := slices.Clone(all)
	for i := range old {
		old[i].Origin, old[i].Reason = "log another hold.log.3", "old"
	}
	for _, batch := range [][]DeadLetter{old, all[1:]} {
		if err := l.DeadLetters().PublishAll(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if got := deadLettersOf(t, l); !reflect.DeepEqual(got, all[1:]) {
		t.Errorf("%+v", got)
	}
}

// A message of dead letters is never larger than the server takes: the largest events are cut,
// and the log has the rest. Where even the names do not fit, each is stored by itself.
func TestDeadLettersOfAFrameAreCutToWhatFits(t *testing.T) {
	t.Parallel()
	for _, limit := range []int32{64 << 10, 4 << 10} {
		l, err := OpenLog(t.Context(), connect(t, natstest.Start(t, func(o *server.Options) { o.MaxPayload = limit })), LogConfig{})
		if err != nil {
			t.Fatal(err)
		}
		all := deadLettersOfFrame(l, 7, MaxFrameEvents)
		all[10].Data = bytes.Repeat([]byte("x"), 60<<10)
		all[10].Size = len(all[10].Data)
		all[11].Reason = strings.Repeat("é", 10<<10)
		if err := l.DeadLetters().PublishAll(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		got := deadLettersOf(t, l)
		if len(got) != len(all) {
			t.Fatalf("limit %d: %d dead letters", limit, len(got))
		}
		slices.SortFunc(got, func(a, b DeadLetter) int { return a.Index - b.Index })
		for i, d := range got {
			if cut := i == 10; d.Truncated != cut || d.Size != all[i].Size || d.Framed != (limit > 10<<10) || !bytes.HasPrefix(all[i].Data, d.Data) {
				t.Errorf("limit %d: %d: %+v", limit, i, d)
			}
		}
	}
}

// What is no body of dead letters is passed over, and a version that is not known is named.
func TestReadDeadLettersRefuses(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	m, err := frameMessage(deadLettersOfFrame(l, 7, 2), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDeadLetters(m.Subject, m.Header, m.Data); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, subject, version string
		data                   []byte
	}{
		{"subject", "hold.dlq.3.7.0", "1", m.Data},
		{"partition", "hold.dlq.x.7.frame", "1", m.Data},
		{"version", m.Subject, "2", m.Data},
		{"empty", m.Subject, "1", nil},
		{"damaged", m.Subject, "1", m.Data[:len(m.Data)-1]},
		{"no reason", m.Subject, "1", []byte{0x12, 0x02, 0x10, 0x05}},
	} {
		if got, err := ReadDeadLetters(c.subject, nats.Header{headerFrame: {c.version}}, c.data); !errors.Is(err, ErrDeadLetter) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// The dead letters have a budget: beyond it the oldest go, and nobody waits. A stream of an
// earlier version gets one that has place for all that it holds.
func TestDeadLetterBudget(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	old := deadLetterConfig(LogConfig{Replicas: 1})
	old.MaxBytes, old.MaxMsgs, old.Metadata = -1, -1, nil
	if _, err := js.CreateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	open := func(budget int64) *Log {
		t.Helper()
		l, err := OpenLog(t.Context(), js, LogConfig{DeadLetterBytes: budget})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	data := bytes.Repeat([]byte("x"), 100<<10)
	publish := func(l *Log, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := l.DeadLetters().Publish(t.Context(), DeadLetter{Sequence: uint64(i), Reason: "r", Data: data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	usage := func(l *Log) DeadLetterUsage {
		t.Helper()
		u, err := l.DeadLetters().Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, err := OpenLog(t.Context(), js, LogConfig{}); err != nil { // makes the log
		t.Fatal(err)
	}
	if u := usage(open(0)); u.MaxBytes != DefaultDeadLetterBytes || u.MaxMessages != DefaultDeadLetterBytes>>10 || u.Full() || !u.Since.IsZero() {
		t.Errorf("%+v", u)
	}
	l := open(1 << 20)
	publish(l, 1, 31)
	u := usage(l)
	if u.MaxBytes != 1<<20 || u.Bytes > 1<<20 || u.Messages > 10 || u.Messages < 9 || u.Since.IsZero() {
		t.Errorf("%+v", u)
	}
	if got := deadLettersOf(t, l); got[len(got)-1].Sequence != 30 {
		t.Errorf("the last one is %+v", got[len(got)-1].ID())
	}
	if u := usage(open(0)); u.MaxBytes != 1<<20 {
		t.Errorf("one that does not ask for it has changed the budget: %+v", u)
	}
	js2 := connect(t, natstest.Start(t))
	if _, err := js2.CreateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := js2.Publish(t.Context(), fmt.Sprintf("hold.dlq.0.%d.0", i+1), data); err != nil {
			t.Fatal(err)
		}
	}
	js = js2
	if u := usage(open(1 << 20)); u.Messages != 30 || u.MaxBytes < u.Bytes {
		t.Errorf("the first budget has deleted something: %+v", u)
	}
	if u := usage(open(1 << 20)); u.Messages != 30 {
		t.Errorf("the second start has deleted something: %+v", u)
	}
}
