package intake

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Stream sends the events of one client. One goroutine uses it; the functions that it
// calls run on any.
type Stream struct {
	in *Intake
	// flight are the calls whose events the log may not have yet.
	flight sync.WaitGroup
}

// Stream returns a stream of events.
func (in *Intake) Stream() *Stream { return &Stream{in: in} }

// Send returns when the event is on its way. Unless it returns an error, done is called
// exactly once, from any goroutine; done must not block. A stop with a weight waits
// until what was sent before is applied.
func (s *Stream) Send(ctx context.Context, d *hold.Draft, done func(Receipt, error)) error {
	if err := accept(d, s.in.cfg.Rules()); err != nil {
		return err
	}
	if stopWeight(d) != "" {
		s.flight.Wait()
		if err := s.in.checkStops(ctx, []hold.Draft{*d}, []int{0})[0]; err != nil {
			return err
		}
	}
	noted := s.in.prepareOne(ctx, d)
	s.flight.Add(1)
	err := s.in.cfg.Producer.Send(ctx, d, func(position uint64, err error) {
		r := Receipt{Position: position}
		if err == nil {
			r.Note = s.in.noteOf(noted)
		}
		done(r, err)
		s.flight.Done()
	})
	if err != nil {
		s.flight.Done()
	}
	return err
}

// SendBatch is Send for many events; done is called exactly once, when the fate of each
// event is known. Drafts may be used again when it returns.
func (s *Stream) SendBatch(ctx context.Context, drafts []hold.Draft, done func(Batch)) {
	sift := siftBatch(drafts, s.in.cfg.Rules())
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
	s.flight.Add(1)
	s.in.cfg.Producer.SendBatch(ctx, drafts, func(r ingest.BatchResult) {
		b := Batch{BatchResult: r}
		b.Notes = noted.finish(s.in.notes, func(index int) bool {
			_, refused := slices.BinarySearchFunc(r.Refused, index, func(r ingest.Refusal, index int) int { return cmp.Compare(r.Index, index) })
			return !refused
		})
		done(b)
		s.flight.Done()
	})
}

// sifted is a batch without what is refused, or has to wait.
type sifted struct {
	sent    []hold.Draft
	at      []int // place in the batch of each that is sent; nil: they are all of it
	refused []ingest.Refusal
	stops   []int // places of stops with a weight
}

// siftBatch sifts a batch by rules. The batch stays as it is.
func siftBatch(drafts []hold.Draft, rules hold.Rules) (s sifted) {
	s.sent = drafts
	for i := range drafts {
		err := accept(&drafts[i], rules)
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
