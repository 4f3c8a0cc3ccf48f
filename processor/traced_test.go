package processor

import (
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"holdmetrics/hold"
	"holdmetrics/internal/logs"
	"holdmetrics/internal/tracing"
	"holdmetrics/projection/storetest"
)

// addTraced appends a message of a sampled request.
func (l *memLog) addTraced(n byte, at int64, d hold.Draft) uint64 {
	position := l.add(at, d)
	l.mu.Lock()
	defer l.mu.Unlock()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n}, SpanID: trace.SpanID{n}, TraceFlags: trace.FlagsSampled})
	for _, of := range l.messages {
		for i := range of {
			if of[i].position == position {
				of[i].span = &span
			}
		}
	}
	return position
}

// New messages of sampled requests have spans: one of their own for apply, and shared ones
// for what several messages share. Old messages have none.
func TestTraces(t *testing.T) {
	t.Parallel()
	seen := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	log, bucket := newMemLog(1), newMemBucket()
	draft := hold.Draft{Token: "pool", Holder: "alice", Start: hold.StampOf(1_600_000_000e9)}
	log.addTraced(1, logBegin, draft)
	w := run(t, Config{Store: storetest.NewMemory(), Tracer: tracing.New(provider), StoreSystem: "memory", FlushInterval: time.Hour}, log, bucket)
	if err := w.WaitApplied(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	if spans := seen.Ended(); len(spans) != 0 {
		t.Fatalf("an old message has spans: %v", spans)
	}
	log.stall(true)
	for n := range byte(3) {
		log.addTraced(10+n, logBegin+int64(n), hold.Draft{Token: "pool", Holder: "bob", Start: hold.StampOf(1_600_000_000e9 + int64(n))})
	}
	log.stall(false)
	w.finish(t, log)
	spans := map[string][]sdktrace.ReadOnlySpan{}
	for _, s := range seen.Ended() {
		spans[s.Name()] = append(spans[s.Name()], s)
	}
	applied := spans["apply hold.log"]
	if len(applied) != 3 || len(spans["flush"]) == 0 || len(spans["publish snapshots"]) == 0 {
		t.Fatalf("spans %v", spans)
	}
	for i, s := range applied {
		if s.Parent().SpanID() != (trace.SpanID{10 + byte(i)}) || !slices.Contains(s.Attributes(), tracing.Position.Int(2+i)) {
			t.Errorf("apply %d: parent %v, %v", i, s.Parent(), s.Attributes())
		}
	}
	// Each message is followed once, by a child or a link, in order.
	for _, name := range []string{"flush", "publish snapshots"} {
		var followed []trace.SpanID
		for _, s := range spans[name] {
			followed = append(followed, s.Parent().SpanID())
			for _, l := range s.Links() {
				followed = append(followed, l.SpanContext.SpanID())
			}
		}
		var want []trace.SpanID
		for _, s := range applied {
			want = append(want, s.SpanContext().SpanID())
		}
		if !slices.Equal(followed, want) {
			t.Errorf("%s follows %v, want %v", name, followed, want)
		}
	}
}

// A partition is behind for as long as it had messages before it at all looks, and by no
// more than the age of what it has applied.
func TestBehindOf(t *testing.T) {
	t.Parallel()
	now, since := time.Unix(0, logBegin), map[int]time.Time{}
	look := func(all ...PartitionStatus) []logs.Behind {
		now = now.Add(5 * time.Second)
		return behindOf(all, since, now)
	}
	old := logBegin - int64(time.Hour)
	idle := look(PartitionStatus{Partition: 1, State: Running, LogTime: old}, PartitionStatus{Partition: 2, State: Running, Pending: 1, LogTime: old})
	if !slices.Equal(idle, []logs.Behind{{Partition: 2, Messages: 1}}) {
		t.Errorf("%v", idle)
	}
	later := look(PartitionStatus{Partition: 2, State: Running, Pending: 9, LogTime: old}, PartitionStatus{Partition: 3, State: Failed, Pending: 9, LogTime: old})
	if !slices.Equal(later, []logs.Behind{{Partition: 2, Messages: 9, Time: 5 * time.Second}}) {
		t.Errorf("%v", later)
	}
	fresh := look(PartitionStatus{Partition: 2, State: Running, Pending: 9, LogTime: now.Add(4 * time.Second).UnixNano()})
	if !slices.Equal(fresh, []logs.Behind{{Partition: 2, Messages: 9, Time: time.Second}}) {
		t.Errorf("%v", fresh)
	}
	if look(PartitionStatus{Partition: 2, State: Running}); len(since) != 0 {
		t.Errorf("%v", since)
	}
}
