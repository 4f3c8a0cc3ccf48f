package generation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// The progress of a build is reported in events, of which a message has any number: how many
// there are in all is known of the active
func TestBuildCountsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.registry
	tell := func(name string, of ...PartitionProgress) {
		t.Helper()
		if err := r.PutProgress(t.Context(), name, Progress{Worker: "w", Partitions: of}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	o := &Operator{Log: w.log, Registry: r}
	// The first one is of lone events, the second one of a frame.
	tell("1",
		PartitionProgress{Partition: 0, Position: 99, Events: 40, Rejected: 10},
		PartitionProgress{Partition: 1, Position: 100, Events: 950})
	ghost := Record{Name: "ghost", Goal: 100}
	others := make([]PartitionProgress, 0, w.log.Partitions())
	for i := 2; i < w.log.Partitions(); i++ {
		others = append(others, PartitionProgress{Partition: i})
	}
	began := append(others, PartitionProgress{Partition: 0, Position: 60, Goal: 99, Events: 25, Rejected: 5}, PartitionProgress{Partition: 1, Goal: 100})
	tell("ghost", began...)
	first, err := o.Build(t.Context(), &ghost)
	if err != nil || first.Percent() != 3 || first.Goal != 1000 || first.Events != 25 || first.Rejected != 5 {
		t.Errorf("%d %%: %+v, %v", first.Percent(), first, err)
	}
	tell("ghost", append(others, PartitionProgress{Partition: 0, Position: 99, Goal: 99, Events: 40, Rejected: 10}, PartitionProgress{Partition: 1, Goal: 100})...)
	then, err := o.Build(t.Context(), &ghost)
	if err != nil || then.Percent() != 5 || then.Goal != 1000 {
		t.Errorf("%d %%: %+v, %v", then.Percent(), then, err)
	}
	tell("ghost", append(others, PartitionProgress{Partition: 0, Position: 99, Goal: 99, Events: 40, Rejected: 10}, PartitionProgress{Partition: 1, Position: 100, Goal: 100, Events: 950})...)
	if done, err := o.Build(t.Context(), &ghost); err != nil || done.Percent() != 100 {
		t.Errorf("%d %%: %+v, %v", done.Percent(), done, err)
	}
	// Of half the log, about half of them.
	tell("half", append(others, PartitionProgress{Partition: 0, Position: 10, Goal: 49, Events: 5}, PartitionProgress{Partition: 1, Goal: 50})...)
	if half, err := o.Build(t.Context(), &Record{Name: "half", Goal: 50}); err != nil || half.Goal != 25+475 {
		t.Errorf("%+v, %v", half, err)
	}
}

// A generation has what its furthest behind partition has.
func TestWatermarksTogether(t *testing.T) {
	t.Parallel()
	ends := []uint64{90, 100, 0}
	for _, c := range []struct {
		all   []Watermark
		until uint64
		want  Watermarks
	}{
		{[]Watermark{{Position: 90, Stored: 0, Published: 90}, {Position: 100, Stored: 0, Published: 60}, {}}, 0, Watermarks{Position: 100, Stored: 0, Published: 60, End: 100}},
		{[]Watermark{{Position: 90, Stored: 90, Published: 90, Rejected: 2}, {Position: 100, Stored: 100, Published: 100, Rejected: 1}, {}}, 0, Watermarks{Position: 100, Stored: 100, Published: 100, End: 100, Rejected: 3}},
		{[]Watermark{{Position: 40, Stored: 40, Published: 40, Ended: true}, {Position: 45, Stored: 45, Published: 44, Ended: true}, {}}, 50, Watermarks{Position: 50, Stored: 50, Published: 44, End: 50}},
	} {
		if got := together(c.all, ends, c.until); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// Of two that activate, the later one goes on; the other says so, and takes nothing
// of it away.
func TestPreparationIsOvertaken(t *testing.T) {
	t.Parallel()
	r := opened(t)
	asked, err := r.PrepareFor(t.Context(), "2", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asking, stop := asked.keep(ctx, time.Millisecond)
	if _, err := r.PrepareFor(t.Context(), "3", time.Hour); err != nil {
		t.Fatal(err)
	}
	<-asking.Done()
	if err := stop(); err == nil || !strings.Contains(err.Error(), "somebody prepares generation 3") {
		t.Error(err)
	}
	if err := asked.End(t.Context()); err != nil {
		t.Error(err)
	}
	if p, err := r.Prepared(t.Context()); err != nil || p.Generation != "3" {
		t.Errorf("%+v, %v", p, err)
	}
}

// notes collects what an operator says it waits for.
func notes(o *Operator) (first <-chan string) {
	said := make(chan string, 100)
	o.Notify = func(text string) { said <- text }
	return said
}

// A build that nothing moves ends the wait, with the partition and what was last heard.
func TestAwaitBuiltStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := &Operator{Log: w.log, Registry: w.registry}
	w.create(Record{Name: "2", Version: hold.NoRulesVersion, Goal: 7})
	_, _, err := o.AwaitBuilt(t.Context(), "2", 10*time.Millisecond, func(*Build) {})
	if stalled := (*StalledError)(nil); !errors.As(err, &stalled) || !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "last heard: nothing: check that serve") {
		t.Errorf("nobody works on it: %v", err)
	}
	tell := func(lastError string, of ...PartitionProgress) {
		t.Helper()
		if err := w.registry.PutProgress(t.Context(), "2", Progress{Worker: "w", LastError: lastError, Partitions: of}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	tell("", PartitionProgress{Partition: 0, Position: 7, Goal: 7}, PartitionProgress{Partition: 1, Position: 3, Goal: 7}, PartitionProgress{Partition: 2, Position: 5, Goal: 7, LastError: "the disk is full"}, PartitionProgress{Partition: 3, Position: 7, Goal: 7})
	shown := 0
	said := notes(o)
	_, b, err := o.AwaitBuilt(t.Context(), "2", 10*time.Millisecond, func(*Build) { shown++ })
	stalled := (*StalledError)(nil)
	if !errors.As(err, &stalled) || stalled.Partition != 1 || stalled.Wanted != 7 || stalled.Reached != 3 || stalled.Heard != "w: position 3" || b.Partitions != 4 || shown == 0 {
		t.Errorf("%+v after %d looks: %v", b, shown, err)
	}
	if text := <-said; text != "w, partition 2: the disk is full" {
		t.Error(text)
	}
	// It moves, and is dropped.
	ended := make(chan error, 1)
	looked := make(chan struct{}, 100)
	go func() {
		_, _, err := o.AwaitBuilt(t.Context(), "2", time.Hour, func(*Build) { looked <- struct{}{} })
		ended <- err
	}()
	<-looked
	tell("", PartitionProgress{Partition: 1, Position: 4, Goal: 7})
	<-looked
	if err := o.Drop(t.Context(), "2", false); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrDropped) {
		t.Error(err)
	}
}

// Each step of a switch that does not happen ends in time, names what it waited for, and
// changes nothing.
func TestActivateGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := &Operator{Log: w.log, Registry: w.registry}
	w.record(0, 20)
	w.create(Record{Name: "2", Version: hold.NoRulesVersion, Built: true})
	activate := func(want ...string) {
		t.Helper()
		_, err := o.Activate(t.Context(), "2", SwitchOptions{Wait: 50 * time.Millisecond})
		for _, text := range append(want, "generation 1 stays active") {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want %s", err, text)
			}
		}
		if a, err := w.registry.Active(t.Context()); err != nil || a.Generation != First {
			t.Errorf("%+v, %v", a, err)
		}
		if p, err := w.registry.Prepared(t.Context()); err != nil || p.Generation != "" {
			t.Errorf("%+v, %v", p, err)
		}
	}
	ends, err := o.ends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The snapshots are behind.
	activate("generation 2 has not caught up with the log", "at position 0, wanted", "last heard: nothing")

	// They are there, and no gateway is.
	snapshots, err := projection.OpenSnapshots(t.Context(), w.js, projection.SnapshotConfig{Generation: "2"})
	if err != nil {
		t.Fatal(err)
	}
	defer snapshots.Close()
	for p, end := range ends {
		if end > 0 {
			if err := snapshots.Publish(t.Context(), p, nil, projection.Reached{Position: end, LogTime: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := func(d GatewayState) {
		t.Helper()
		if err := w.registry.PutGateway(t.Context(), d, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	report(GatewayState{ID: "g", Active: First, LastError: "its store is away"})
	activate("after 50ms still waiting for gateways to load generation 2: g (its store is away)")

	// It has loaded it, and nobody works on it.
	report(GatewayState{ID: "g", Active: First, Prepared: "2"})
	activate("workers of generation 2: none reports")
	if err := w.registry.PutProgress(t.Context(), "2", Progress{Worker: "w", Partitions: make([]PartitionProgress, 1)}, time.Hour); err != nil {
		t.Fatal(err)
	}
	activate("workers to write dead letters of generation 2: w")

	// Active, and the gateway does not follow.
	if err := w.registry.PutProgress(t.Context(), "2", Progress{Worker: "w", DeadLetters: true, Partitions: make([]PartitionProgress, 1)}, time.Hour); err != nil {
		t.Fatal(err)
	}
	said := notes(o)
	_, err = o.Activate(t.Context(), "2", SwitchOptions{Wait: 2 * noticeAfter})
	if err == nil || !strings.Contains(err.Error(), "generation 2 is active, but after 2s still waiting for gateways to switch to generation 2: g") {
		t.Error(err)
	}
	if text := <-said; text != "waiting for gateways to switch to generation 2: g" {
		t.Error(text)
	}
	if from, err := o.Previous(t.Context()); err != nil || from != First {
		t.Errorf("%q, %v", from, err)
	}
}

// A drop that a process does not follow ends in time, and names the process.
func TestAwaitDroppedGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := &Operator{Log: w.log, Registry: w.registry}
	w.create(Record{Name: "2", Version: hold.NoRulesVersion})
	if err := o.Drop(t.Context(), "2", false); err != nil {
		t.Fatal(err)
	}
	if err := o.AwaitDropped(t.Context(), "2", 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "no process works on it") {
		t.Error(err)
	}
	if err := w.registry.PutProgress(t.Context(), "2", Progress{Worker: "w"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := o.AwaitDropped(t.Context(), "2", 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "generation 2 is not gone after 10ms: these processes still have it: w") {
		t.Error(err)
	}
	if err := w.registry.Remove(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if err := o.AwaitDropped(t.Context(), "2", time.Minute); err != nil {
		t.Error(err)
	}
}

// A comparison that waits for a partition which stands still ends, with what its worker
// said last.
func TestComparisonGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.process("a")
	w.record(0, 20)
	c := Comparison{Conn: w.conn, Partitions: 4, End: w.log.End, stalledAfter: patience}
	ends, err := (&Operator{Log: w.log, Registry: w.registry}).ends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	busiest := slices.Index(ends, slices.Max(ends))
	if err := c.awaitApplied(t.Context(), First, busiest, ends[busiest]); err != nil {
		t.Fatal(err)
	}
	// It is paused where it is, and the log goes on.
	if _, err := c.ask(t.Context(), First, busiest, &question{Ask: askPause}); err != nil {
		t.Fatal(err)
	}
	w.record(20, 40)
	next, err := w.log.End(t.Context(), busiest)
	if err != nil {
		t.Fatal(err)
	}
	c.stalledAfter = 500 * time.Millisecond
	err = c.awaitApplied(t.Context(), First, busiest, next)
	stalled := (*StalledError)(nil)
	if !errors.As(err, &stalled) || stalled.Wanted != next || stalled.Reached != ends[busiest] || stalled.Partition != busiest || !strings.HasPrefix(stalled.Heard, "applied ") {
		t.Errorf("%v", err)
	}
	if g, err := s.Active(); err != nil || g.Name != First {
		t.Errorf("%v, %v", g, err)
	}
	// One that nobody runs.
	err = c.awaitApplied(t.Context(), "none", 0, 1)
	if !errors.As(err, &stalled) || stalled.Heard != "" || !strings.Contains(err.Error(), "generation none, partition 0: no progress for") {
		t.Errorf("%v", err)
	}
}
