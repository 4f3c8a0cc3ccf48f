package intake

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"holdmetrics/gateway/auth"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Stream sends the events of one client. One goroutine uses it; the functions that it
// calls run on any.
type Stream struct {
	in     *Intake
	at     Endpoint
	caller *auth.Caller // nil: may send everything
	// timing is set while an event is under way whose acknowledgement is timed.
	timing atomic.Bool
	// flight are the calls whose events the log may not have yet.
	flight sync.WaitGroup

	traced          int             // events so far, up to mostTraced
	plain, untraced context.Context // plain is untraced without its span
}

// mostTraced is how many events of a stream belong to the trace of its call. A stream may
// last for months, and a trace should have an end.
const mostTraced = 1 << 12

// follow returns the context that n more events are sent with.
func (s *Stream) follow(ctx context.Context, n int) context.Context {
	if s.traced < mostTraced {
		s.traced += n
		return ctx
	}
	if s.untraced != ctx {
		s.plain, s.untraced = trace.ContextWithSpanContext(ctx, trace.SpanContext{}), ctx
	}
	return s.plain
}

// Stream returns a stream of events that come in at an endpoint, of the caller of ctx.
func (in *Intake) Stream(ctx context.Context, e Endpoint) *Stream {
	return &Stream{in: in, at: e, caller: auth.CallerOf(ctx)}
}

// Send returns when the event is on its way. Unless it returns an error, done is called
// exactly once, from any goroutine; done must not block. A stop with a weight waits
// until what was sent before is applied.
func (s *Stream) Send(ctx context.Context, d *hold.Draft, done func(Receipt, error)) error {
	if err := accept(s.caller, d, s.in.cfg.Rules()); err != nil {
		return err
	}
	if stopWeight(d) != "" {
		s.flight.Wait()
		if err := s.in.checkStops(ctx, []hold.Draft{*d}, []int{0})[0]; err != nil {
			return err
		}
	}
	noted := s.in.prepareOne(ctx, d)
	timed := !s.timing.Load() && s.timing.CompareAndSwap(false, true)
	if timed || s.in.cfg.Tokens != nil {
		done = s.measured(ctx, d, timed, done)
	}
	s.flight.Add(1)
	err := s.in.cfg.Producer.Send(s.follow(ctx, 1), d, func(position uint64, err error) {
		r := Receipt{Position: position}
		if err == nil {
			r.Note = s.in.noteOf(noted)
		}
		done(r, err)
		s.flight.Done()
	})
	if err != nil {
		s.flight.Done()
		if timed {
			s.timing.Store(false)
		}
	}
	return err
}

// measured returns done with what is measured of an event around it.
func (s *Stream) measured(ctx context.Context, d *hold.Draft, timed bool, done func(Receipt, error)) func(Receipt, error) {
	began := time.Now()
	tokens := s.in.cfg.Tokens
	var label TokenLabel
	if tokens != nil {
		label = tokens.Label(d.Token)
	}
	return func(r Receipt, err error) {
		if err == nil && tokens != nil {
			tokens.Add(label, 1)
		}
		if timed {
			if err == nil {
				s.in.cfg.Observer.Acknowledged(ctx, s.at, time.Since(began))
			}
			s.timing.Store(false)
		}
		done(r, err)
	}
}

// SendBatch is Send for many events; done is called exactly once, when the fate of each
// event is known. Drafts may be used again when it returns.
func (s *Stream) SendBatch(ctx context.Context, drafts []hold.Draft, done func(Batch)) {
	sift := siftBatch(s.caller, drafts, s.in.cfg.Rules())
	if len(sift.stops) == 0 {
		s.send(ctx, sift.sent, func(b Batch) {
			sift.place(&b)
			done(b)
		})
		return
	}
	// What a stop ends may be in this batch, so the others go first.
	sent := make(chan Batch, 1)
	s.send(ctx, sift.sent, func(b Batch) { sent <- b })
	first := <-sent
	sift.place(&first)
	s.flight.Wait()
	second := sifted{}
	for i, err := range s.in.checkStops(ctx, drafts, sift.stops) {
		at := sift.stops[i]
		if err != nil {
			second.refused = append(second.refused, ingest.Refusal{Index: at, Err: err})
		} else {
			second.sent, second.at = append(second.sent, drafts[at]), append(second.at, at)
		}
	}
	s.send(ctx, second.sent, func(b Batch) {
		second.place(&b)
		b.Accepted += first.Accepted
		b.Position = max(b.Position, first.Position)
		b.Refused = mergeRefusals(first.Refused, b.Refused)
		b.Notes = append(b.Notes, first.Notes...)
		slices.SortFunc(b.Notes, func(x, y Note) int { return cmp.Compare(x.Index, y.Index) })
		done(b)
	})
}

// send sends a batch of which nothing more is to be refused here.
func (s *Stream) send(ctx context.Context, drafts []hold.Draft, done func(Batch)) {
	noted := s.in.notes.prepare(ctx, drafts)
	began, labels := time.Now(), s.labels(drafts)
	s.flight.Add(1)
	s.in.cfg.Producer.SendBatch(s.follow(ctx, len(drafts)), drafts, func(r ingest.BatchResult) {
		if r.Accepted > 0 {
			s.in.cfg.Observer.Acknowledged(ctx, s.at, time.Since(began))
		}
		s.countTokens(labels, r.Refused)
		b := Batch{BatchResult: r}
		b.Notes = noted.finish(s.in.notes, func(index int) bool {
			_, refused := slices.BinarySearchFunc(r.Refused, index, func(r ingest.Refusal, index int) int { return cmp.Compare(r.Index, index) })
			return !refused
		})
		done(b)
		s.flight.Done()
	})
}

// labels returns what counts the tokens of a batch; nil: nothing does.
func (s *Stream) labels(drafts []hold.Draft) []TokenLabel {
	if s.in.cfg.Tokens == nil {
		return nil
	}
	labels := make([]TokenLabel, len(drafts))
	for i := range drafts {
		labels[i] = s.in.cfg.Tokens.Label(drafts[i].Token)
	}
	return labels
}

// countTokens counts the events of a batch by token, without those that were refused.
func (s *Stream) countTokens(labels []TokenLabel, refused []ingest.Refusal) {
	for i := 0; i < len(labels); {
		if len(refused) > 0 && refused[0].Index == i {
			refused = refused[1:]
			i++
			continue
		}
		n := 1 // equal neighbours are counted together
		for i+n < len(labels) && labels[i+n] == labels[i] && (len(refused) == 0 || refused[0].Index != i+n) {
			n++
		}
		s.in.cfg.Tokens.Add(labels[i], n)
		i += n
	}
}

// sifted is a batch without what is refused, or has to wait.
type sifted struct {
	sent    []hold.Draft
	at      []int // place in the batch of each that is sent; nil: they are all of it
	refused []ingest.Refusal
	stops   []int // places of stops with a weight
}

// siftBatch sifts a batch by its caller and by rules. The batch stays as it is.
func siftBatch(caller *auth.Caller, drafts []hold.Draft, rules hold.Rules) (s sifted) {
	s.sent = drafts
	for i := range drafts {
		err := accept(caller, &drafts[i], rules)
		stop := err == nil && stopWeight(&drafts[i]) != ""
		out := err != nil || stop
		switch {
		case out && s.at == nil:
			s.sent = append([]hold.Draft(nil), drafts[:i]...)
			s.at = make([]int, i, len(drafts))
			for j := range i {
				s.at[j] = j
			}
		case !out && s.at != nil:
			s.sent, s.at = append(s.sent, drafts[i]), append(s.at, i)
		}
		switch {
		case err != nil:
			s.refused = append(s.refused, ingest.Refusal{Index: i, Err: err})
		case stop:
			s.stops = append(s.stops, i)
		}
	}
	return s
}

// place gives the result of what was sent the places of the batch.
func (s *sifted) place(b *Batch) {
	if s.at != nil {
		for i := range b.Refused {
			b.Refused[i].Index = s.at[b.Refused[i].Index]
		}
		for i := range b.Notes {
			b.Notes[i].Index = s.at[b.Notes[i].Index]
		}
	}
	if len(s.refused) > 0 {
		b.Refused = mergeRefusals(b.Refused, s.refused)
	}
}

// mergeRefusals merges two lists by index.
func mergeRefusals(a, b []ingest.Refusal) []ingest.Refusal {
	merged := make([]ingest.Refusal, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Index < b[0].Index {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
