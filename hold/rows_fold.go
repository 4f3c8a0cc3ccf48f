package hold

import (
	"math/bits"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// fold is what follows from the rows of a small pair: bits and numbers by the place
// of the row.
type fold struct {
	holds   uint64          // rows that are effective holds
	loose   uint64          // of those, the ones that only a stop can end
	end     [smallMax]int64 // of a loose hold: the stop that ends it; 0: none
	ended   [smallMax]uint8 // of a stop: 1 + the row that it ends; 0: none
	waiting uint64          // facts that have nothing to act on

	open  [smallMax]uint8 // a stack of the holds that no stop has ended so far
	depth int
}

// fold folds the rows in one pass: what the facts of each start come to (start.go),
// and the stops (S4.5) with a stack of the open holds. On top is the latest-started
// one, and of equal starts the heaviest.
func (s *rows) fold() (f fold) {
	for i := 0; i < len(s.list); {
		at, own := s.list[i].at, -1
		if r := &s.list[i]; r.is(rowStop) {
			switch {
			case r.waits():
				f.waiting++
			case r.active() && f.depth > 0:
				f.stop(i, at)
			case r.active():
				own = i // it may end a hold of its own instant
			}
			i++
		}
		for i < len(s.list) && s.list[i].at == at {
			i = f.foldWeight(s.list, i)
		}
		switch {
		case own < 0:
		case f.depth > 0:
			f.stop(own, at)
		default:
			f.waiting++
		}
	}
	return f
}

// stop ends the hold on top of the stack.
func (f *fold) stop(row int, at int64) {
	f.depth--
	f.end[f.open[f.depth]] = at
	f.ended[row] = f.open[f.depth] + 1
}

// endOf returns the effective end of a hold, or 0 if it is open.
func (f *fold) endOf(i int, r *row) int64 {
	if f.loose>>i&1 != 0 {
		return f.end[i]
	}
	return r.end
}

// entry returns a row as a timeline has it, with all that follows.
func (f *fold) entry(s *rows, i int) interval.Entry {
	e := s.entryOf(&s.list[i])
	if f.holds>>i&1 != 0 {
		e.Flags |= interval.Covers
	}
	if f.loose>>i&1 != 0 {
		e.Flags |= interval.Loose
		e.Eff = f.end[i]
	}
	if f.ended[i] != 0 {
		r := &s.list[f.ended[i]-1]
		e.Flags |= interval.Matched
		e.Eff, e.Weight = r.at, s.weightOf(r)
		if r.is(rowHasWeight) {
			e.Flags |= interval.MatchedHasWeight
		}
	}
	return e
}

func (s *rows) waiting() uint64 {
	f := s.fold()
	return f.waiting
}

func (s *rows) eachSpan(yield func(*interval.Span) bool) {
	f := s.fold()
	s.spans(&f, yield)
}

// spans is eachSpan of rows that are folded.
func (s *rows) spans(f *fold, yield func(*interval.Span) bool) {
	var span interval.Span
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		span = interval.Span{Start: r.at, End: f.endOf(i, r), Weight: s.weightOf(r)}
		if span.End == 0 {
			span.End = forever
		}
		if span.Start != span.End && !yield(&span) {
			return
		}
	}
}

func (s *rows) eachHold(yield func(Hold) bool) {
	f := s.fold()
	var same []Hold
	flush := func() bool {
		ok := yieldSorted(same, yield)
		same = same[:0]
		return ok
	}
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		if len(same) > 0 && same[0].Start != r.at && !flush() {
			return
		}
		same = append(same, Hold{Start: r.at, End: f.endOf(i, r), Weight: Weight(s.weightOf(r))})
	}
	flush()
}

func (s *rows) eachHoldIn(_, _ int64, yield func(Hold) bool) { s.eachHold(yield) }

func (s *rows) settled(t, from, to int64) interval.Area {
	f := s.fold()
	return s.settledArea(&f, t, from, to)
}

func (s *rows) settledArea(f *fold, t, from, to int64) interval.Area {
	return s.area(f, func(start, end int64) (a, b int64) {
		if end == 0 || end > t {
			return 0, 0
		}
		return max(start, from), min(end, to)
	})
}

func (s *rows) live(t int64) interval.Area {
	f := s.fold()
	return s.liveArea(&f, t)
}

func (s *rows) liveArea(f *fold, t int64) interval.Area {
	return s.area(f, func(start, end int64) (a, b int64) {
		if end == 0 || end > t {
			return start, t
		}
		return start, end
	})
}

// area returns the area of the parts [a, b) of the holds that clip returns for a
// start and an end (0: open). Parts of later starts must not start earlier.
func (s *rows) area(f *fold, clip func(start, end int64) (a, b int64)) interval.Area {
	var total interval.Area
	reach := int64(0)
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		a, b := clip(r.at, f.endOf(i, r))
		if b <= a {
			continue
		}
		if a < reach {
			return s.overlapArea(f, clip)
		}
		reach = b
		s.addArea(&total, r, uint64(b-a))
	}
	return total
}

// overlapArea is area for holds that overlap.
func (s *rows) overlapArea(f *fold, clip func(start, end int64) (a, b int64)) interval.Area {
	var buf [smallMax]interval.Span
	spans := buf[:0]
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		if a, b := clip(r.at, f.endOf(i, r)); a < b {
			spans = append(spans, interval.Span{Start: a, End: b, Weight: s.weightOf(r)})
		}
	}
	return interval.AreaOf(interval.Policy(s.policy), spans)
}

// addArea adds a row's weight over ns nanoseconds, which are held.
func (s *rows) addArea(total *interval.Area, r *row, ns uint64) {
	total.Held += ns
	if r.is(rowWide) {
		w := s.weightOf(r)
		total.AddLevel(&w, ns, false)
		return
	}
	shift := uint(r.what>>rowShiftAt) % 64
	hi, lo := bits.Mul64(r.what>>rowNumberAt, ns)
	var carry uint64
	total.Sum[0], carry = bits.Add64(total.Sum[0], lo<<shift, 0)
	total.Sum[1], carry = bits.Add64(total.Sum[1], hi<<shift|lo>>(64-shift), carry)
	total.Sum[2], carry = bits.Add64(total.Sum[2], hi>>(64-shift), carry)
	for i := 3; carry != 0 && i < len(total.Sum); i++ {
		total.Sum[i], carry = bits.Add64(total.Sum[i], 0, carry)
	}
}

// chain returns the area of all rows and the end of the last one, if they are ended
// holds that follow one another: then nothing needs to be folded.
func (s *rows) chain() (total interval.Area, end int64, ok bool) {
	last := int64(0)
	for i := range s.list {
		r := &s.list[i]
		if r.at < end || r.at <= last || r.end == 0 || r.what&(rowSent|rowRetracted|rowStop) != rowSent {
			return interval.Area{}, 0, false
		}
		last, end = r.at, r.end
		s.addArea(&total, r, uint64(end-last))
	}
	return total, end, true
}

// plainFigures returns the figures in one pass over the rows, without a fold, if all of them are
// holds of different starts and nothing ends, retracts or waits for another one: then each
// row is a hold as it is stated. That is what most pairs have. By merge, no two holds may
// overlap.
func plainFigures(s *rows, at int64) (out Figures, ok bool) {
	var ended, live interval.Area // of the ended holds, and of all, as of at
	var level interval.Weight
	next, last := int64(forever), int64(0)
	reach, cut := int64(0), int64(0) // the latest end of what ended counts, and live
	same := true                     // live is ended
	for i := range s.list {
		r := &s.list[i]
		if r.at <= last || r.what&(rowSent|rowRetracted|rowStop) != rowSent || r.end != 0 && r.end < r.at {
			return Figures{}, false
		}
		last = r.at
		if s.policy == Merge && (r.at < reach || r.at < cut) {
			return Figures{}, false
		}
		if r.end != 0 {
			if same && r.end > at {
				same, live = false, ended
				cut = reach
			}
			addPart(s, &ended, r, r.at, r.end, &reach)
			if r.end <= at {
				if !same {
					addPart(s, &live, r, r.at, r.end, &cut)
				}
				continue
			}
			next = min(next, r.end)
		} else if same {
			same, live = false, ended
			cut = reach
		}
		// It is held at the instant, or later.
		if r.at > at {
			next = min(next, r.at)
			if s.policy == Merge && r.end == 0 {
				cut = forever // what follows overlaps it
			}
			continue
		}
		addPart(s, &live, r, r.at, at, &cut)
		if s.policy == Merge && r.end == 0 {
			cut = forever
		}
		w := s.weightOf(r)
		limbs.Add(level[:], w[:])
		out.Line.HeldRate = 1
	}
	out.Line.Since = at
	out.Settled = amountOf(&ended)
	out.Line.Base = out.Settled
	if !same {
		out.Line.Base = amountOf(&live)
		limbs.Mul(out.Line.Rate[:], level[:], MultiplierOne)
	}
	if next != forever {
		out.Line.Until = next
	}
	return out, true
}

// addPart adds a row's weight over [from, to). What is behind reach, which it moves, is
// held; the rest is held already.
func addPart(s *rows, total *interval.Area, r *row, from, to int64, reach *int64) {
	if to <= from {
		return
	}
	held := total.Held
	s.addArea(total, r, uint64(to-from))
	total.Held = held
	if begin := max(from, *reach); begin < to {
		total.Held += uint64(to - begin)
		*reach = to
	}
}

func (s *rows) figures(at int64) Figures {
	if total, end, ok := s.chain(); ok && end <= at {
		a := amountOf(&total)
		return Figures{Settled: a, Line: Line{Base: a, Since: at}}
	}
	if f, ok := plainFigures(s, at); ok {
		return f
	}
	return foldedFigures(s, at)
}

// foldedFigures is figures of any rows.
func foldedFigures(s *rows, at int64) Figures {
	f := s.fold()
	settled := s.settledArea(&f, forever, 0, forever)
	out := Figures{Settled: amountOf(&settled), Line: Line{Since: at}, Waiting: f.waiting}
	out.Line.Base = out.Settled
	var level interval.Weight
	next, past := int64(forever), true
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		end := f.endOf(i, r)
		if end != 0 && end <= at {
			continue
		}
		past = false
		if end != 0 {
			next = min(next, end)
		}
		if r.at > at {
			next = min(next, r.at)
			continue
		}
		out.Line.HeldRate = 1
		switch w := s.weightOf(r); {
		case s.policy == Sum:
			limbs.Add(level[:], w[:])
		case level.Cmp(&w) < 0:
			level = w
		}
	}
	if !past {
		live := s.liveArea(&f, at)
		out.Line.Base = amountOf(&live)
		limbs.Mul(out.Line.Rate[:], level[:], MultiplierOne)
	}
	if next != forever {
		out.Line.Until = next
	}
	return out
}

func (s *rows) reach() int64 {
	reach := int64(0)
	s.eachSpan(func(span *interval.Span) bool {
		reach = max(reach, span.End)
		return true
	})
	return reach
}

func (s *rows) firstCrossing(t int64) int64 {
	f := s.fold()
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &s.list[i]
		if r.at >= t {
			break
		}
		if end := f.endOf(i, r); end == 0 || end > t {
			return r.at
		}
	}
	return forever
}

func (s *rows) startsBefore(t int64) bool { return len(s.list) > 0 && s.list[0].at < t }

func (s *rows) stopSpent(at int64) bool {
	f := s.fold()
	for i := range s.list {
		if r := &s.list[i]; r.at == at && r.is(rowStop) {
			return f.ended[i] != 0 && s.list[f.ended[i]-1].at < at
		}
	}
	return false
}

func (s *rows) stopEnds(at int64) (Weight, bool) {
	f := s.fold()
	for i := range s.list {
		if r := &s.list[i]; r.at == at && r.is(rowStop) {
			if f.ended[i] == 0 {
				return Weight{}, false
			}
			return Weight(s.weightOf(&s.list[f.ended[i]-1])), true
		}
	}
	return Weight{}, false
}
