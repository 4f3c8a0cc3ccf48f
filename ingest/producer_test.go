package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"holdmetrics/hold"
)

func newTestProducer(tb testing.TB, l *Log, o ProducerOptions) *Producer {
	tb.Helper()
	o.Now = testClock
	p := NewProducer(l, o)
	tb.Cleanup(func() { mustClose(tb, p) })
	return p
}

func TestRecordIsInTheLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{})
	for i, holder := range []string{"alice", "bob", "Jörg S.", "alice"} {
		d := open("gold", holder, int64(100+i))
		position, err := p.Record(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		end, err := l.End(t.Context(), Partition(holder, l.Partitions()))
		if err != nil || position != end {
			t.Errorf("position %d, the partition ends at %d, %v", position, end, err)
		}
	}
	if n := len(eventsOf(t, l)); n != 4 {
		t.Errorf("%d events", n)
	}
}

func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{})
	future := open("gold", "alice", now/1e9+301)
	nobody := open("gold", "", 100)
	for field, d := range map[string]*hold.Draft{"start": &future, "holder_id": &nobody} {
		_, err := p.Record(t.Context(), d)
		if bad := (*hold.FieldError)(nil); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if err := p.Send(t.Context(), d, func(uint64, error) { t.Error("done of a refused event") }); err == nil {
			t.Errorf("Send takes a bad %s", field)
		}
	}
	if last, err := l.LastPosition(t.Context()); err != nil || last != 0 {
		t.Errorf("the log ends at %d, %v", last, err)
	}
}

// TestProducerConcurrently sends from many goroutines by every method, through a
// a quota that is far too small, and finds each event exactly where it was promised.
func TestProducerConcurrently(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{MaxPending: 100, MaxPendingBytes: minPendingBytes})
	const senders, each = 8, 300
	var mu sync.Mutex
	promised := map[hold.Draft]uint64{}
	keep := func(d hold.Draft, position uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		promised[d] = position
		mu.Unlock()
	}
	var all, acks sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			var batch []hold.Draft
			for i := range each {
				d := open(fmt.Sprint("token", i), fmt.Sprint("holder ", s, i%17), int64(1+i))
				switch i % 3 {
				case 0:
					position, err := p.Record(t.Context(), &d)
					keep(d, position, err)
				case 1:
					acks.Add(1)
					if err := p.Send(t.Context(), &d, func(position uint64, err error) {
						defer acks.Done()
						keep(d, position, err)
					}); err != nil {
						t.Error(err)
						acks.Done()
					}
				case 2:
					batch = append(batch, d)
				}
			}
			r, err := p.RecordBatch(t.Context(), batch)
			if err != nil || r.Accepted != len(batch) || len(r.Refused) != 0 {
				t.Errorf("%+v, %v", r, err)
			}
			for _, d := range batch {
				keep(d, 0, nil)
			}
		})
	}
	all.Wait()
	acks.Wait()
	got := eventsOf(t, l)
	if len(promised) != senders*each || len(got) != len(promised) {
		t.Errorf("%d promised, %d in the log, want %d", len(promised), len(got), senders*each)
	}
	for d, position := range promised {
		if at := got[d]; len(at) != 1 || position != 0 && at[0] != position {
			t.Errorf("%v was promised at %d, and is at %v", d, position, at)
		}
	}
	mustClose(t, p)
	if events, bytes := p.Pending(); events != 0 || bytes != 0 {
		t.Errorf("%d events, %d bytes are pending", events, bytes)
	}
}

func TestRecordBatch(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{})
	const n = 5000
	drafts := make([]hold.Draft, n)
	for i := range drafts {
		drafts[i] = open("gold", fmt.Sprint("holder", i%3), int64(1+i))
	}
	bad := []int{0, 7, 255, 256, 257, n - 1}
	for _, i := range bad {
		drafts[i].Token = ""
	}
	r, err := p.RecordBatch(t.Context(), drafts)
	if err != nil || r.Accepted != n-len(bad) || len(r.Refused) != len(bad) {
		t.Fatalf("%d accepted, %d refused, %v", r.Accepted, len(r.Refused), err)
	}
	for i, refusal := range r.Refused {
		if field := (*hold.FieldError)(nil); refusal.Index != bad[i] || !errors.As(refusal.Err, &field) || field.Field != "token_id" {
			t.Errorf("refusal %d: %+v", i, refusal)
		}
	}
	if last, err := l.LastPosition(t.Context()); err != nil || r.Position != last {
		t.Errorf("position %d, the log ends at %d, %v", r.Position, last, err)
	}
	if got := len(eventsOf(t, l)); got != r.Accepted {
		t.Errorf("%d events in the log", got)
	}
	if r, err := p.RecordBatch(t.Context(), nil); err != nil || r.Accepted != 0 || r.Refused != nil {
		t.Errorf("an empty batch: %+v, %v", r, err)
	}
	if r, err := p.RecordBatch(t.Context(), make([]hold.Draft, 2)); err != nil || len(r.Refused) != 2 {
		t.Errorf("a batch of bad events: %+v, %v", r, err)
	}
}

func TestProducerClosed(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{})
	mustClose(t, p)
	mustClose(t, p)
	d := open("gold", "alice", 1)
	if _, err := p.Record(t.Context(), &d); !errors.Is(err, ErrClosed) {
		t.Errorf("Record: %v", err)
	}
	if err := p.Send(t.Context(), &d, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	r, err := p.RecordBatch(t.Context(), []hold.Draft{d, {}, d})
	if err != nil || len(r.Refused) != 3 || !errors.Is(r.Refused[0].Err, ErrClosed) || errors.Is(r.Refused[1].Err, ErrClosed) {
		t.Errorf("RecordBatch: %+v, %v", r, err)
	}
	if events, bytes := p.Pending(); events != 0 || bytes != 0 {
		t.Errorf("%d events, %d bytes are pending", events, bytes)
	}
}

func TestRecordWithEndedContext(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	p := newTestProducer(t, l, ProducerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := open("gold", "alice", 1)
	if _, err := p.Record(ctx, &d); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}
