package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"holdmetrics/hold"
)

// Refusal is an event of a batch that was not accepted.
type Refusal struct {
	Index int   // of the event within its batch
	Err   error // as Record would have returned it
}

// BatchResult is what became of a batch. Every event of it is either counted in
// Accepted or has one Refusal.
type BatchResult struct {
	Accepted int
	Position uint64    // the greatest position that holds an event of the batch; 0 when none was accepted
	Refused  []Refusal // by ascending index
}

// RecordBatch sends a batch and waits until the log has every event of it that
// was accepted. A bad event never touches its neighbours. The error is not nil
// only when ctx ended before the log answered; then nothing is known of the
// events, and sending them again is harmless.
func (p *Producer) RecordBatch(ctx context.Context, drafts []hold.Draft) (BatchResult, error) {
	result := make(chan BatchResult, 1)
	p.SendBatch(ctx, drafts, func(r BatchResult) { result <- r })
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		return BatchResult{}, fmt.Errorf("%w: %w", ErrNotAcknowledged, context.Cause(ctx))
	}
}

// SendBatch sends a batch of events, and waits for quota only, piece by piece, so
// a batch may be larger than the producer's quota.
//
// done is called exactly once, when the fate of every event is known: each was
// acknowledged, or was refused by itself (a *hold.FieldError), found no quota
// before ctx ended or MaxWait passed (ErrBusy), came after Close (ErrClosed), or
// was not acknowledged (ErrNotAcknowledged). It runs on a partition's goroutine
// or, where nothing was sent, before SendBatch returns; as with Send it must not
// wait for anything. Drafts may be used again when SendBatch returns.
func (p *Producer) SendBatch(ctx context.Context, drafts []hold.Draft, done func(BatchResult)) {
	b := &batch{done: done, pending: len(drafts) + 1}
	p.feed(ctx, drafts, b)
	b.settle(1, nil) // the feeder itself
}

// piece is how many events of a batch take quota at once. It spares the lock of
// the quota for each event, and is small enough not to keep others waiting.
const piece = 256

// feed sends drafts piece by piece.
func (p *Producer) feed(ctx context.Context, drafts []hold.Draft, b *batch) {
	now, by, span := p.o.Now(), p.known(), p.o.Tracer.Sampled(ctx)
	var sizes [piece]int // 0: refused
	for from := 0; from < len(drafts); {
		events, bytes, to := 0, 0, from
		for ; to < len(drafts) && to-from < piece && events < p.o.MaxPending; to++ {
			sizes[to-from] = 0
			if err := p.check(&drafts[to], now, by); err != nil {
				b.refuse(to, err)
				continue
			}
			size := sizeEvent(&drafts[to])
			if bytes+framed(size) > p.o.MaxPendingBytes {
				break
			}
			sizes[to-from] = size
			events, bytes = events+1, bytes+framed(size)
		}
		if err := p.feedPiece(ctx, drafts[from:to], sizes[:to-from], by, span, from, events, bytes, b); err != nil {
			b.refuseRest(to, len(drafts), err)
			return
		}
		from = to
	}
}

// feedPiece takes quota for a piece and puts its events in line.
func (p *Producer) feedPiece(ctx context.Context, drafts []hold.Draft, sizes []int, by *horizons, span *trace.SpanContext, from, events, bytes int, b *batch) error {
	if events == 0 {
		return nil
	}
	err := p.admit(ctx, events, bytes)
	taken := err == nil
	var touched touchedBatchers
	for i := range drafts {
		if sizes[i] == 0 {
			continue
		}
		if err == nil {
			l := p.batcherOf(&drafts[i])
			if l.put(&drafts[i], sizes[i], by, entry{to: b, index: from + i}, span, p.freshFrame) {
				touched.add(l)
				continue
			}
			err = ErrClosed
		}
		if taken {
			p.quota.give(1, framed(sizes[i]))
		}
		b.refuse(from+i, err)
	}
	touched.rouse()
	return err
}

// touchedBatchers remembers the batchers that a piece put events in, so that each is
// roused once, after all of them are in line and make one frame.
type touchedBatchers struct {
	batchers [piece]*batcher
	n        int
}

func (t *touchedBatchers) add(l *batcher) {
	if !slices.Contains(t.batchers[:t.n], l) {
		t.batchers[t.n] = l
		t.n++
	}
}

func (t *touchedBatchers) rouse() {
	for _, l := range t.batchers[:t.n] {
		l.rouse()
	}
}

// batch gathers the fates of a batch's events.
type batch struct {
	done func(BatchResult)

	mu      sync.Mutex
	pending int
	result  BatchResult
}

// complete is called by the batchers.
func (b *batch) complete(index int, position uint64, err error) {
	b.settle(1, func(r *BatchResult) {
		if err != nil {
			r.Refused = append(r.Refused, Refusal{index, err})
			return
		}
		r.Accepted++
		r.Position = max(r.Position, position)
	})
}

func (b *batch) refuse(index int, err error) { b.complete(index, 0, err) }

func (b *batch) refuseRest(from, to int, err error) {
	for i := from; i < to; i++ {
		b.refuse(i, err)
	}
}

// settle notes the fate of n events, and calls done after the last.
func (b *batch) settle(n int, note func(*BatchResult)) {
	b.mu.Lock()
	if note != nil {
		note(&b.result)
	}
	b.pending -= n
	last := b.pending == 0
	b.mu.Unlock()
	if last {
		slices.SortFunc(b.result.Refused, func(x, y Refusal) int { return cmp.Compare(x.Index, y.Index) })
		b.done(b.result)
	}
}
