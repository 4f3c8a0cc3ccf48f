package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

// slowLog is a log that answers when the test says so.
type slowLog struct {
	arrived chan []byte // each publish, as it comes
	answer  chan error  // one for each publish; nil acknowledges

	mu       sync.Mutex
	position uint64
}

func newSlowLog() *slowLog { return &slowLog{arrived: make(chan []byte), answer: make(chan error)} }

func (s *slowLog) publish(ctx context.Context, _ string, data []byte, _ nats.Header) (uint64, error) {
	select {
	case s.arrived <- bytes.Clone(data):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case err := <-s.answer:
		if err != nil {
			return 0, err
		}
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position++
	return s.position, nil
}

func slowProducer(t *testing.T, o ProducerOptions) (*slowLog, *Producer) {
	t.Helper()
	s := newSlowLog()
	o.Now = testClock
	p := startProducer(s, 1, MaxFrameBytes, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Close(ctx)
	})
	return s, p
}

// fates collects the results that done received.
type fates chan error

func (f fates) send(t *testing.T, p *Producer, i int) {
	t.Helper()
	d := open("gold", "alice", int64(i+1))
	if err := p.Send(t.Context(), &d, func(_ uint64, err error) { f <- err }); err != nil {
		t.Fatal(err)
	}
}

// TestFramesFillBehindTheOneInFlight: a lone event leaves at once; what comes
// while it is in flight shares frames, none larger than allowed.
func TestFramesFillBehindTheOneInFlight(t *testing.T) {
	t.Parallel()
	s, p := slowProducer(t, ProducerOptions{})
	f := make(fates, 2000)
	f.send(t, p, 0)
	frames := [][]byte{<-s.arrived}
	const more = MaxFrameEvents + 100
	for i := range more {
		f.send(t, p, 1+i)
	}
	if len(f) != 0 {
		t.Fatal("an event was acknowledged before the log had it")
	}
	for range 2 {
		s.answer <- nil
		frames = append(frames, <-s.arrived)
	}
	s.answer <- nil
	next := int64(1)
	for i, want := range []int{1, MaxFrameEvents, 100} {
		events, r := readAll(frames[i])
		if r.Err() != nil || len(events) != want {
			t.Errorf("frame %d has %d events, want %d, %v", i, len(events), want, r.Err())
		}
		for _, b := range events {
			var d hold.Draft
			if err := DecodeEvent(b, &d); err != nil || d.Start.Seconds != next {
				t.Fatalf("event %d, %v, want %d", d.Start.Seconds, err, next)
			}
			next++
		}
	}
	for range 1 + more {
		if err := <-f; err != nil {
			t.Fatal(err)
		}
	}
}

func TestFramesCloseBySize(t *testing.T) {
	t.Parallel()
	s := newSlowLog()
	const most = 400
	p := startProducer(s, 1, most, ProducerOptions{Now: testClock})
	f := make(fates, 100)
	for i := range 40 {
		f.send(t, p, i)
	}
	for got := 0; got < 40; {
		data := <-s.arrived
		if len(data) > most {
			t.Errorf("frame of %d bytes", len(data))
		}
		events, _ := readAll(data)
		got += len(events)
		s.answer <- nil
	}
	mustClose(t, p)
}

func TestBackpressure(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ProducerOptions{
		"events": {MaxPending: 10},
		"bytes":  {MaxPendingBytes: minPendingBytes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := slowProducer(t, o)
			f := make(fates, 1000)
			ctx, cancel := context.WithCancel(t.Context())
			full := errors.New("full")
			d := open("gold", "alice", 1)
			taken := 0
			quota := p.quota
			for quota.tryTakeProbe(framed(sizeEvent(&d))) {
				f.send(t, p, taken)
				taken++
			}
			if name == "events" && taken != 10 {
				t.Errorf("%d events found quota", taken)
			}
			blocked := make(chan error)
			ctx2, cancel2 := context.WithCancelCause(ctx)
			go func() {
				blocked <- p.Send(ctx2, &d, func(uint64, error) { t.Error("done of an event that was not taken") })
			}()
			cancel2(full)
			if err := <-blocked; !errors.Is(err, ErrBusy) || !errors.Is(err, full) {
				t.Errorf("%v", err)
			}
			go func() { blocked <- p.Send(ctx, &d, func(_ uint64, err error) { f <- err }) }()
			<-s.arrived
			s.answer <- nil // frees quota for the blocked one
			if err := <-blocked; err != nil {
				t.Error(err)
			}
			cancel()
			for n := 1 + taken; n > 0; n-- {
				select {
				case err := <-f:
					if err != nil {
						t.Error(err)
					}
				case <-s.arrived:
					s.answer <- nil
					n++
				}
			}
		})
	}
}

// tryTakeProbe reports whether there is quota for one more event, and takes none.
func (r *quota) tryTakeProbe(bytes int) bool {
	if !r.tryTake(1, bytes) {
		return false
	}
	r.give(1, bytes)
	return true
}

func TestMaxWait(t *testing.T) {
	t.Parallel()
	_, p := slowProducer(t, ProducerOptions{MaxPending: 1, MaxWait: time.Millisecond})
	f := make(fates, 1)
	f.send(t, p, 0)
	d := open("gold", "alice", 1)
	if _, err := p.Record(t.Context(), &d); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), ": waited 1ms for room, 1 events of ") {
		t.Errorf("%v", err)
	}
	r, err := p.RecordBatch(context.WithoutCancel(t.Context()), []hold.Draft{d, {}, d})
	if err != nil || len(r.Refused) != 3 || !errors.Is(r.Refused[0].Err, ErrBusy) || !errors.Is(r.Refused[2].Err, ErrBusy) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s, p := slowProducer(t, ProducerOptions{RetryWait: 1})
	f := make(fates, 1)
	f.send(t, p, 0)
	var first []byte
	for i, err := range []error{nats.ErrTimeout, jetstream.ErrNoStreamResponse, nats.ErrNoResponders, context.DeadlineExceeded,
		&jetstream.APIError{Code: 503}, nats.ErrReconnectBufExceeded, nil} {
		data := <-s.arrived
		if i == 0 {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Error("another frame")
		}
		if len(f) != 0 {
			t.Error("acknowledged too early")
		}
		s.answer <- err
	}
	if err := <-f; err != nil {
		t.Error(err)
	}
}

func TestPermanentErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{nats.ErrConnectionClosed, nats.ErrMaxPayload, errWrongStream, fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400})} {
		s, p := slowProducer(t, ProducerOptions{})
		f := make(fates, 2)
		f.send(t, p, 0)
		<-s.arrived
		f.send(t, p, 1)
		s.answer <- cause
		err := <-f
		if bad := (*NotAcknowledgedError)(nil); !errors.As(err, &bad) || bad.Attempts != 1 || !errors.Is(err, ErrNotAcknowledged) || !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
		<-s.arrived // the next frame is tried all the same
		s.answer <- nil
		if err := <-f; err != nil {
			t.Error(err)
		}
	}
}

func TestRetryEnds(t *testing.T) {
	t.Parallel()
	s := newSlowLog()
	p := startProducer(s, 1, MaxFrameBytes, ProducerOptions{Now: testClock, RetryFor: time.Millisecond})
	d := open("gold", "alice", 1)
	r, err := p.RecordBatch(t.Context(), []hold.Draft{d, d}) // nobody answers
	if err != nil || r.Accepted != 0 || len(r.Refused) != 2 || !errors.Is(r.Refused[0].Err, ErrNotAcknowledged) || r.Refused[1].Index != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	mustClose(t, p)
}

func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	s, p := slowProducer(t, ProducerOptions{})
	f := make(fates, 3)
	f.send(t, p, 0)
	<-s.arrived
	f.send(t, p, 1)
	f.send(t, p, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	patience := errors.New("no more patience")
	cancel(patience)
	if err := p.Close(ctx); !errors.Is(err, patience) {
		t.Errorf("%v", err)
	}
	for range 3 {
		if err := <-f; !errors.Is(err, ErrNotAcknowledged) || !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

func TestCloseLetsTheRestThrough(t *testing.T) {
	t.Parallel()
	s, p := slowProducer(t, ProducerOptions{MaxPending: 2})
	f := make(fates, 2)
	f.send(t, p, 0)
	<-s.arrived
	f.send(t, p, 1)
	blocked, closed := make(chan error), make(chan error)
	d := open("gold", "alice", 1)
	go func() { blocked <- p.Send(t.Context(), &d, nil) }()
	p.batchers[0].close() // as Close begins
	go func() { closed <- p.Close(t.Context()) }()
	s.answer <- nil
	<-s.arrived
	s.answer <- nil
	if err := <-blocked; !errors.Is(err, ErrClosed) {
		t.Errorf("a caller that waited for quota got %v", err)
	}
	if err := errors.Join(<-f, <-f, <-closed); err != nil {
		t.Error(err)
	}
}

func TestRecordLeavesWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	s, p := slowProducer(t, ProducerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	d := open("gold", "alice", 1)
	go func() {
		_, err := p.Record(ctx, &d)
		result <- err
	}()
	<-s.arrived
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotAcknowledged) {
		t.Errorf("%v", err)
	}
	s.answer <- nil // and nobody stumbles over the late answer
	go func() {
		_, err := p.Record(t.Context(), &d)
		result <- err
	}()
	<-s.arrived
	s.answer <- nil
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// Callers wait for as long as Slow says, and no longer than their context lasts.
func TestSlowedCallersWait(t *testing.T) {
	t.Parallel()
	passable := make(chan struct{})
	asked := make(chan struct{}, 8)
	s, p := slowProducer(t, ProducerOptions{Slow: func() <-chan struct{} {
		asked <- struct{}{}
		return passable
	}})
	gone, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	go func() {
		d := open("gold", "alice", 1)
		_, err := p.Record(gone, &d)
		refused <- err
	}()
	<-asked
	cancel()
	if err := <-refused; !errors.Is(err, ErrBusy) {
		t.Errorf("a caller that does not wait any more gets %v", err)
	}
	recorded := make(chan error, 1)
	go func() {
		d := open("gold", "bob", 1)
		_, err := p.Record(t.Context(), &d)
		recorded <- err
	}()
	<-asked
	select {
	case <-s.arrived:
		t.Fatal("the log has the event of a caller that waits")
	default:
	}
	close(passable)
	<-s.arrived
	s.answer <- nil
	if err := <-recorded; err != nil {
		t.Error(err)
	}
}
