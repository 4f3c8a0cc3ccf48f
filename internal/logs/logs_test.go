package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/internal/reqid"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// lines are the lines of a log at info and above.
func lines(seen *observer.ObservedLogs) (out []string) {
	for _, e := range seen.TakeAll() {
		text := e.Message
		for _, f := range e.Context {
			switch f.Type {
			case zapcore.StringType:
				text += " " + f.Key + "=" + f.String
			case zapcore.Int64Type, zapcore.Uint64Type:
				text += fmt.Sprintf(" %s=%d", f.Key, f.Integer)
			case zapcore.DurationType:
				text += fmt.Sprintf(" %s=%v", f.Key, time.Duration(f.Integer))
			}
		}
		out = append(out, text)
	}
	return out
}

func check(t *testing.T, seen *observer.ObservedLogs, want ...string) {
	t.Helper()
	if got := lines(seen); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zapcore.InfoLevel)
		log := zap.New(core)
		tally := NewTally(time.Minute)
		note := func(kind string, n int) {
			tally.Note(kind, n, func() func(int) { return func(count int) { log.Info(kind, zap.Int("count", count)) } })
		}
		note("a", 1)
		note("b", 2)
		note("a", 3)
		note("a", 4)
		check(t, seen, "a count=1", "b count=2")
		time.Sleep(61 * time.Second)
		check(t, seen, "a count=7")
		note("b", 1) // forgotten, so at once
		note("a", 1)
		check(t, seen, "b count=1")
		tally.Close()
		check(t, seen, "a count=1")
		note("a", 1)
		time.Sleep(time.Hour)
		check(t, seen)
	})
}

// A line tells of something that it counts, not of what a line before it was about.
func TestTallyTellsOfWhatItCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zapcore.InfoLevel)
		log, tally := zap.New(core), NewTally(time.Minute)
		defer tally.Close()
		note := func(what string) {
			tally.Note("kind", 1, func() func(int) { return func(count int) { log.Info(what, zap.Int("count", count)) } })
		}
		note("one")
		note("two")
		note("three")
		time.Sleep(61 * time.Second)
		note("four")
		time.Sleep(60 * time.Second)
		check(t, seen, "one count=1", "two count=2", "four count=1")
	})
}

// Many note at once, and every one of them counts.
func TestTallyOfManyAtOnce(t *testing.T) {
	t.Parallel()
	tally := NewTally(time.Hour)
	var counted atomic.Int64
	for i := range 20 {
		var noting sync.WaitGroup
		for range 8 {
			noting.Go(func() {
				tally.Note(fmt.Sprint(i), 1, func() func(int) { return func(n int) { counted.Add(int64(n)) } })
			})
		}
		noting.Wait()
	}
	tally.Close()
	if n := counted.Load(); n != 8*20 {
		t.Errorf("%d of %d were counted", n, 8*20)
	}
}

func TestTallyIsBounded(t *testing.T) {
	t.Parallel()
	tally, said := NewTally(time.Hour), 0
	for i := range 10 * mostKinds {
		tally.Note(fmt.Sprint(i), 1, func() func(int) { return func(int) { said++ } })
	}
	if len(tally.kinds) != mostKinds+1 || said != mostKinds+1 {
		t.Errorf("%d kinds, %d lines", len(tally.kinds), said)
	}
	tally.Close()
	var none *Tally
	none.Note("a", 1, func() func(int) { t.Error("a line of nothing"); return nil })
	none.Close()
}

func TestOutages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zapcore.InfoLevel)
		log, out := zap.New(core), NewOutages()
		away := errors.New("away")
		out.Failed(log, "flush", away)
		out.Failed(log, "flush", away)
		out.Failed(log, "read", away)
		check(t, seen, "operation failed; retrying operation=flush", "operation failed; retrying operation=read")
		time.Sleep(3 * time.Second)
		out.Recovered(log, "flush", 2)
		check(t, seen)
		out.Recovered(log, "flush", 3)
		check(t, seen, "operation succeeded again operation=flush failures=5 took=3s")
		out.GivenUp("read", 1)
		check(t, seen)
		out.Failed(log, "read", away)
		check(t, seen, "operation failed; retrying operation=read")
	})
}

func TestLag(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.InfoLevel)
	log, now := zap.New(core), time.Unix(1_600_000_000, 0)
	lag := Lag{Bound: 30 * time.Second, Again: time.Minute}
	look := func(all ...Behind) {
		lag.Look(log, now, all)
		now = now.Add(20 * time.Second)
	}
	look(Behind{1, 5, 10 * time.Second}, Behind{2, 0, time.Hour})
	check(t, seen)
	look(Behind{1, 5, 31 * time.Second}, Behind{2, 7, time.Minute})
	check(t, seen, "partitions lag behind the log lag=1m0s messages=12 lagged_for=0s")
	look(Behind{1, 5, 2 * time.Minute})
	look(Behind{1, 5, 31 * time.Second})
	check(t, seen)
	look(Behind{1, 5, 40 * time.Second})
	check(t, seen, "partitions lag behind the log lag=40s messages=5 lagged_for=1m0s")
	look(Behind{1, 0, time.Minute})
	check(t, seen, "partitions have caught up with the log lagged_for=1m20s lag_at_most=2m0s")
	look()
	check(t, seen)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	if got := Request(t.Context()); len(got) != 0 {
		t.Errorf("fields of no request: %v", got)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(reqid.With(context.Background(), "r"), span)
	core, seen := observer.New(zapcore.InfoLevel)
	zap.New(core).Info("x", Request(ctx)...)
	got := seen.All()[0].ContextMap()
	if got["request_id"] != "r" || got["trace_id"] != "01000000000000000000000000000000" || got["span_id"] != "0200000000000000" || len(got) != 3 {
		t.Errorf("fields %v", got)
	}
}
