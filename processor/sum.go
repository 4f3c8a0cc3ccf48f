package processor

import (
	"container/heap"
	"context"
	"math/bits"

	"holdmetrics/hold"
)

// sum is the figures of a holder, kept so that one pair can be taken out and put
// back without looking at the others, however many there are.
//
// Settled figures just add up. Lines do not, because each begins at another
// instant: pair by pair, base + rate x (t - since). So a line is kept as what it
// would be at time zero, base - rate x since, and its rate; those add up, and
// the sum at t is origin + rate x t. The origin of a line is usually negative.
// That is harmless: scores wrap modulo 2^384 (held times modulo 2^128), where
// addition and subtraction are exact. At a t where the lines hold, the result is the
// true sum, which fits.
//
// For the same reason it does not matter at which instant of a line's piece the
// line was taken: the origin and the rate are those of the piece.
type sum struct {
	settled  hold.Amount
	origin   hold.Amount // of all lines, at time zero
	rate     hold.Rate
	heldRate uint64
	waiting  uint64
	holdsAt  int64 // the instant at which every line in the sum holds
}

func (s *sum) add(f *hold.Figures) {
	s.settled = s.settled.Add(f.Settled)
	s.origin = s.origin.Add(originOf(&f.Line))
	s.rate = s.rate.Add(f.Line.Rate)
	s.heldRate += f.Line.HeldRate
	s.waiting += f.Waiting
}

func (s *sum) sub(f *hold.Figures) {
	s.settled = s.settled.Sub(f.Settled)
	s.origin = s.origin.Sub(originOf(&f.Line))
	s.rate = s.rate.Sub(f.Line.Rate)
	s.heldRate -= f.Line.HeldRate
	s.waiting -= f.Waiting
}

// at is the sum with its line beginning at t, where every line that was added
// must hold. until is the first break of any of them, 0 where none is known.
func (s *sum) at(t, until int64) hold.Figures {
	return hold.Figures{
		Settled: s.settled,
		Line: hold.Line{
			Base:     s.origin.Add(growth(s.rate, s.heldRate, t)),
			Rate:     s.rate,
			HeldRate: s.heldRate,
			Since:    t,
			Until:    until,
		},
		Waiting: s.waiting,
	}
}

// originOf is the line at time zero, as if it had always been one.
func originOf(l *hold.Line) hold.Amount {
	if l.HeldRate == 0 && l.Rate.IsZero() {
		return l.Base
	}
	return l.Base.Sub(growth(l.Rate, l.HeldRate, l.Since))
}

// growth is what the rates gather in t nanoseconds, modulo the width.
func growth(rate hold.Rate, heldRate uint64, t int64) hold.Amount {
	hi, lo := bits.Mul64(heldRate, uint64(t))
	return hold.Amount{Score: rate.Times(uint64(t)), Held: hold.Held{lo, hi}}
}

// settle brings figures up to date: of the pairs that were touched since the
// last settle, and the sums of their holders. Until then events only add facts,
// so a pair that takes many events between two flushes is figured once.
//
// How often it is called does not show in what it leaves: a holder's sum is made
// of the pieces of lines that hold at the holder's last event.
//
// An error means that a pair could not be loaded; calling it again carries on.
func (m *memory) settle(ctx context.Context) error {
	for _, pr := range m.touchedPairs {
		m.refigure(pr)
	}
	m.touchedPairs = emptied(m.touchedPairs)

	// Lines that have broken since go on as another line, which only their pairs know.
	for _, h := range m.touchedHolders {
		for _, t := range m.cache.broken(h) {
			pr := m.cache.pair(h, t)
			if pr == nil {
				pr = m.cache.addPair(h, t)
				m.unloaded = append(m.unloaded, pr)
			}
			pr.touched = true
			m.broken = append(m.broken, pr)
			m.cache.release(t)
		}
	}
	if len(m.unloaded) > 0 {
		if err := m.loadPairs(ctx, m.unloaded); err != nil {
			return err
		}
		m.unloaded = emptied(m.unloaded)
	}
	for _, pr := range m.broken {
		// While the sum is still of the instant of the last settle, the pair gives
		// what the sum has of it.
		pr.part()
		m.refigure(pr)
	}
	m.broken = emptied(m.broken)

	for _, h := range m.touchedHolders {
		if h.touched = false; h.rest != nil {
			h.rest.holdsAt = h.updatedAt
		}
		m.cache.dropBreaks(h)
	}
	m.touchedHolders = emptied(m.touchedHolders)
	return m.lost
}

// refigure puts a pair that is in no sum into its holder's, in the piece of its
// line that holds at the holder's last event.
func (m *memory) refigure(pr *pair) {
	h := pr.holder
	pr.touched = false
	f := pr.figures(h.updatedAt)
	pr.join(&f)
	m.cache.setBreak(h, pr.token, f.Line.Until)
}

// breaks are the instants at which lines of a holder's pairs may break, for the
// pairs that have one, also those that are not in memory. A nil *breaks has none,
// which is the usual case: only a hold that ends in the future makes a break.
type breaks struct {
	until map[*token]int64 // the truth
	order breakHeap        // the same by time, and entries that the truth has left behind
}

type lineBreak struct {
	until int64
	token *token
}

type breakHeap []lineBreak

func (h breakHeap) Len() int           { return len(h) }
func (h breakHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h breakHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *breakHeap) Push(x any)        { *h = append(*h, x.(lineBreak)) }
func (h *breakHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// next is the first break, or 0 if there is none.
func (b *breaks) next() int64 {
	if b == nil {
		return 0
	}
	b.skip()
	if len(b.order) == 0 {
		return 0
	}
	return b.order[0].until
}

// none reports whether no line may break but that of one token.
func (b *breaks) none(but *token) bool {
	if b == nil {
		return true
	}
	n := len(b.until)
	if _, ok := b.until[but]; ok {
		n--
	}
	return n == 0
}

// skip drops entries at the front that no longer hold.
func (b *breaks) skip() {
	for len(b.order) > 0 && b.until[b.order[0].token] != b.order[0].until {
		heap.Pop(&b.order)
	}
}

func (b *breaks) set(t *token, until int64) {
	if b.until[t] == until {
		return
	}
	b.until[t] = until
	heap.Push(&b.order, lineBreak{until, t})
	// Left-behind entries are dropped when they come to the front, which a break
	// in the far future never does; so they are swept out once they are the most.
	if len(b.order) > 2*len(b.until)+16 {
		kept := b.order[:0]
		seen := make(map[*token]bool, len(b.until))
		for _, e := range b.order {
			if b.until[e.token] == e.until && !seen[e.token] {
				seen[e.token] = true
				kept = append(kept, e)
			}
		}
		clear(b.order[len(kept):])
		b.order = kept
		heap.Init(&b.order)
	}
}

// expired takes out the tokens whose break is not after t.
func (b *breaks) expired(t int64) []*token {
	var out []*token
	for b.next() != 0 && b.order[0].until <= t {
		e := heap.Pop(&b.order).(lineBreak)
		delete(b.until, e.token)
		out = append(out, e.token)
	}
	return out
}
