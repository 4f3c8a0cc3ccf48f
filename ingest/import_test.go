package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// origin is a log of n messages, of 5 partitions, as another cluster would have it.
func originOf(n int) (Origin, []*Message) {
	o := Origin{LogID: "origin", Partitions: 5, Through: uint64(n), Limits: []LimitsFrom{{0, limitsOf(time.Minute, time.Hour)}, {3, limitsOf(time.Second, time.Second)}}}
	var all []*Message
	for i := range n {
		all = append(all, &Message{
			Position: uint64(i + 1), Partition: i % 5, Time: now + int64(i)*1e9 + 1, JSON: i%3 == 0, Data: fmt.Appendf(nil, "message %d", i),
		})
	}
	return o, all
}

func begin(t *testing.T, js jetstream.JetStream, o Origin) *Import {
	t.Helper()
	i, err := BeginImport(t.Context(), js, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func addAll(t *testing.T, i *Import, all []*Message) {
	t.Helper()
	for _, m := range all {
		if err := i.Add(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func finish(t *testing.T, i *Import) *Log {
	t.Helper()
	l, err := i.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sameMessages requires a log to have what was imported.
func sameMessages(t *testing.T, l *Log, want []*Message) {
	t.Helper()
	n := 0
	for m, err := range l.Read(t.Context(), Range{To: uint64(len(want))}) {
		if err != nil {
			t.Fatal(err)
		}
		if w := want[n]; m.Position != w.Position || m.Partition != w.Partition || m.Time != w.Time || m.JSON != w.JSON || !bytes.Equal(m.Data, w.Data) {
			t.Errorf("message %+v, want %+v", m, w)
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%d messages of %d", n, len(want))
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	own := limitsOf(7*time.Minute, 8*time.Minute)
	early, err := OpenLog(t.Context(), js, LogConfig{Partitions: 5, Limits: own}) // as a serve has it
	if err != nil {
		t.Fatal(err)
	}
	o, all := originOf(700)
	i := begin(t, js, o)

	// While it lasts, nobody else publishes, opens the log, or reads it.
	for _, subject := range []string{LogSubject(1), RawSubject("alice")} {
		if _, err := js.Publish(t.Context(), subject, []byte("x"), jetstream.WithRetryAttempts(0)); !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("%s took an event: %v", subject, err)
		}
	}
	addAll(t, i, all[:600])
	var unfinished *UnfinishedImportError
	if _, err := OpenLog(t.Context(), js, LogConfig{}); !errors.As(err, &unfinished) || unfinished.LogID != "origin" || unfinished.Through != 700 {
		t.Errorf("the log opens: %v", err)
	}
	if _, err := FindLog(t.Context(), js); !errors.Is(err, ErrUnfinishedImport) {
		t.Errorf("the log is found: %v", err)
	}
	if err := early.SetLimits(t.Context(), limitsOf(1, 1)); !errors.Is(err, ErrUnfinishedImport) {
		t.Errorf("limits were set: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := early.TimeOf(soon, 1, nil, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader did not wait: %v", err)
	}
	// A wait without a limit of its own ends with words too.
	early.settleWithin = 300 * time.Millisecond
	testwait.Poll(t, "a reader gets an error that says why", func() error { // at once, unless the machine is too busy to look in time
		_, err := early.TimeOf(t.Context(), 7, nil, time.Now())
		if err == nil || !strings.Contains(err.Error(), "the time of position 7 of the log is not known after ") {
			t.Errorf("a reader did not wait: %v", err)
		}
		if !errors.Is(err, ErrUnfinishedImport) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), " of 700 messages of log origin") {
			return err
		}
		return nil
	})
	early.settleWithin = time.Minute
	read := make(chan error, 1)
	go func() {
		got := int64(0)
		for m, err := range early.Read(context.WithoutCancel(t.Context()), Range{To: 1}) {
			if err != nil {
				read <- err
				return
			}
			got = m.Time
		}
		if got != all[0].Time {
			read <- fmt.Errorf("time %d, want %d", got, all[0].Time)
		}
		read <- nil
	}()

	addAll(t, i, all[600:])
	l := finish(t, i)
	if err := <-read; err != nil {
		t.Error(err)
	}
	for _, l := range []*Log{l, early} {
		sameMessages(t, l, all)
		if l.ID() != early.ID() || l.ID() == "origin" {
			t.Errorf("log id %s", l.ID())
		}
		if note := l.imported.Load(); note == nil || note.LogID != "origin" || note.Through != 700 {
			t.Errorf("imported: %+v", note)
		}
		for position, want := range map[uint64]Origin{1: {Limits: o.Limits[:1]}, 2: {Limits: o.Limits[:1]}, 3: {Limits: o.Limits[1:]}, 700: {Limits: o.Limits[1:]}} {
			if got := l.LimitsAt(position); got != want.Limits[0].Limits {
				t.Errorf("limits at %d: %+v", position, got)
			}
		}
		if got := l.LimitsAt(701); got != own {
			t.Errorf("limits of what comes: %+v", got)
		}
		if got, err := l.PositionAt(t.Context(), all[99].Time); err != nil || got != 100 {
			t.Errorf("position %d at the time of 100, %v", got, err)
		}
	}

	// The subjects are back, and a header of another client says nothing.
	ack, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: RawSubject("alice"), Header: nats.Header{LogTimeHeader: {"2001-01-01T00:00:00Z"}}, Data: []byte("x")})
	if err != nil || ack.Sequence != 701 {
		t.Fatalf("%+v, %v", ack, err)
	}
	for _, l := range []*Log{l, early} {
		if m, err := l.Message(t.Context(), 701); err != nil || time.Since(time.Unix(0, m.Time)) > time.Hour {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if _, err := BeginImport(t.Context(), js, o, 1); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second import: %v", err)
	}
	before := eventsConfig(LogConfig{Partitions: 5, Replicas: 1}, "")
	if after := l.events.CachedInfo().Config; len(after.Subjects) != len(before.Subjects) || *after.SubjectTransform != *before.SubjectTransform || !after.DenyDelete {
		t.Errorf("stream config %+v", after)
	}
}

// Nobody's header counts where nothing was imported, not even in the first message
// of a log that was opened when it was empty.
func TestLogTimeOfAStranger(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	for range 2 {
		if _, err := l.js.PublishMsg(t.Context(), &nats.Msg{Subject: RawSubject("a"), Header: nats.Header{LogTimeHeader: {"2001-01-01T00:00:00Z"}}}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenLog(t.Context(), l.js, LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{l, again} {
		for position := range uint64(2) {
			if m, err := l.Message(t.Context(), position+1); err != nil || time.Since(time.Unix(0, m.Time)) > time.Hour {
				t.Errorf("%+v, %v", m, err)
			}
		}
	}
}

// An import that was cut short is carried on, wherever that was; the one that it
// follows can do no more.
func TestImportCarriesOn(t *testing.T) {
	t.Parallel()
	for _, done := range []int{0, 1, 7, 20} {
		js := connect(t, natstest.Start(t))
		o, all := originOf(20)
		first := begin(t, js, o)
		addAll(t, first, all[:done])
		if err := first.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := begin(t, js, o)
		if second.There() != uint64(done) {
			t.Errorf("%d messages are there, want %d", second.There(), done)
		}
		if done < 20 {
			if err := first.Add(t.Context(), all[done]); err != nil {
				t.Fatal(err)
			}
		}
		first.next = 21
		if _, err := first.Finish(t.Context()); !errors.Is(err, ErrImportOvertaken) {
			t.Errorf("the first import: %v", err)
		}
		addAll(t, second, all)
		sameMessages(t, finish(t, second), all)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := connect(t, s)
	o, all := originOf(5)
	for what, change := range map[string]func(*Origin){
		"no id":         func(o *Origin) { o.LogID = "" },
		"nothing":       func(o *Origin) { o.Through = 0 },
		"no partitions": func(o *Origin) { o.Partitions = 0 },
		"no limits":     func(o *Origin) { o.Limits = nil },
		"limits":        func(o *Origin) { o.Limits = []LimitsFrom{{1, limitsOf(1, 1)}} },
		"horizon":       func(o *Origin) { o.Horizons = []int64{0} },
		"horizon order": func(o *Origin) { o.Horizons = []int64{2, 1} },
		"limits order":  func(o *Origin) { o.Limits = []LimitsFrom{{0, limitsOf(1, 1)}, {0, limitsOf(2, 1)}} },
	} {
		bad := o
		change(&bad)
		if _, err := BeginImport(t.Context(), js, bad, 1); !errors.Is(err, ErrLogConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}

	i := begin(t, js, o)
	addAll(t, i, all[:2])
	if err := i.Add(t.Context(), all[3]); err == nil {
		t.Error("a gap was imported")
	}
	if _, err := i.Finish(t.Context()); err == nil {
		t.Error("an import was finished with 2 of 5 messages")
	}
	other := o
	other.LogID = "another"
	if _, err := BeginImport(t.Context(), js, other, 1); !errors.Is(err, ErrUnfinishedImport) {
		t.Errorf("another log: %v", err)
	}
	changed := *all[1]
	changed.Data = []byte("something else")
	i = begin(t, js, o)
	addAll(t, i, all[:1])
	if err := i.Add(t.Context(), &changed); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("another message: %v", err)
	}

	full := openLog(t)
	if _, err := full.js.Publish(t.Context(), LogSubject(0), nil); err != nil {
		t.Fatal(err)
	}
	o.Partitions = DefaultPartitions
	if _, err := BeginImport(t.Context(), full.js, o, 1); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a log with a message: %v", err)
	}
	o.Partitions = 5
	if _, err := BeginImport(t.Context(), openLog(t).js, o, 1); !errors.Is(err, ErrLogConfig) {
		t.Errorf("other partitions: %v", err)
	}
}

// A message as large as the server takes has no room for its time.
func TestImportOfTheLargestMessage(t *testing.T) {
	t.Parallel()
	const limit = 4096
	js := connect(t, natstest.Start(t, func(o *server.Options) { o.MaxPayload = limit }))
	o, all := originOf(3)
	all[1].Data = bytes.Repeat([]byte{0xff}, limit)
	i := begin(t, js, o)
	addAll(t, i, all[:2])
	if err := i.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	i = begin(t, js, o)
	addAll(t, i, all)
	l := finish(t, i)
	sameMessages(t, l, all)
	if _, err := l.Verify(t.Context(), -1, func(tr Fault) {
		if tr.Index == 0 && tr.Reason == "it was imported, and does not say what time it had" {
			t.Errorf("%+v", tr)
		}
	}, nil); err != nil {
		t.Error(err)
	}
}

// A copy of a log is sealed as that one is, also a copy of a copy; a part of it, up to
// where that log was sealed by then. Who had the log open before the import learns of it.
func TestImportOfASealedLog(t *testing.T) {
	t.Parallel()
	const first, second = int64(1000e9), int64(2000e9 + 1)
	l := openLog(t)
	forged := AppendSeal(nil, 1500e9) // which nobody names who may
	for _, horizon := range []int64{first, second} {
		if _, err := l.js.Publish(t.Context(), LogSubject(3), forged); err != nil {
			t.Fatal(err)
		}
		l.sealAfter = 0 // no other process produces
		if err := l.Seal(t.Context(), horizon, now); err != nil {
			t.Fatal(err)
		}
	}
	part := uint64(1 + l.Partitions()) // up to the first seal
	for _, c := range []struct {
		through  uint64
		horizons []int64
	}{{2 * part, []int64{first, second}}, {part, []int64{first}}, {1, []int64{}}} {
		from := l
		for range 2 {
			origin, err := from.Origin(t.Context(), c.through)
			if err != nil {
				t.Fatal(err)
			}
			early := openLog(t)
			i := begin(t, early.js, origin)
			for m, err := range from.Read(t.Context(), Range{To: c.through}) {
				if err != nil {
					t.Fatal(err)
				}
				if err := i.Add(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			late := finish(t, i)
			if _, err := early.Message(t.Context(), 1); err != nil { // it learns that something was imported
				t.Fatal(err)
			}
			for _, l := range []*Log{early, late} {
				if got := l.horizons.Load().all; !slices.Equal(got, c.horizons) {
					t.Errorf("through %d: horizons %v, want %v", c.through, got, c.horizons)
				}
			}
			if _, all := faults(t, late, -1); len(all) != max(1, len(c.horizons)) { // the forged ones
				t.Errorf("through %d: faults %q", c.through, all)
			}
			from = late
		}
	}
}
