package hold

import "math/bits"

// fold is what follows from the rows of a small pair, in bits and numbers by the
// place of the row.
type fold struct {
	holds   uint64          // rows that are effective holds
	loose   uint64          // of those, the ones that only a stop can end
	end     [smallMax]int64 // of a loose hold: the stop that ends it; 0: none
	ended   [smallMax]uint8 // of a stop: 1 + the row that it ends; 0: none
	waiting uint64          // facts that find nothing to act on
}

// fold does, in one pass over the rows, what the design says of facts without
// hold_id: its steps (1) and (3) within each start, and (4) with a stack of the
// holds that are open, on top the latest-started one, and of equal starts the
// heaviest. Step (2) has nothing to do, since a start whose facts give a weight
// here and none there is no matter of rows.
func (p *Pair) fold() (f fold) {
	var open [smallMax]uint8
	depth := 0
	end := func(stop int, at int64) {
		depth--
		f.end[open[depth]] = at
		f.ended[stop] = open[depth] + 1
	}
	rows := p.rows
	for i := 0; i < len(rows); {
		at, own := rows[i].at, -1
		if r := &rows[i]; r.is(rowStop) {
			switch {
			case r.waits():
				f.waiting++
			case r.active() && depth > 0:
				end(i, at)
			case r.active():
				own = i // it may end a hold of its own instant
			}
			i++
		}
		for i < len(rows) && rows[i].at == at {
			// One weight: the open fact, if any, and then the ended ones.
			weight, opened, closed := rows[i].what&rowContent, -1, false
			for ; i < len(rows) && rows[i].at == at && rows[i].what&rowContent == weight; i++ {
				switch r := &rows[i]; {
				case r.waits():
					f.waiting++
				case !r.active():
				case r.end == 0:
					opened = i
				default:
					closed = true
					f.holds |= 1 << i
				}
			}
			if opened >= 0 && !closed {
				f.holds |= 1 << opened
				f.loose |= 1 << opened
				open[depth] = uint8(opened)
				depth++
			}
		}
		if own < 0 {
			continue
		}
		if depth > 0 {
			end(own, at)
		} else {
			f.waiting++
		}
	}
	return f
}

// endOf is the effective end of a hold, 0 where it is open.
func (f *fold) endOf(i int, r *row) int64 {
	if f.loose>>i&1 != 0 {
		return f.end[i]
	}
	return r.end
}

// entry is a row as a timeline has it, with all that follows.
func (f *fold) entry(p *Pair, i int) entry {
	e := p.entryOf(&p.rows[i])
	if f.holds>>i&1 != 0 {
		e.flags |= flagCovers
	}
	if f.loose>>i&1 != 0 {
		e.flags |= flagLoose
		e.eff = f.end[i]
	}
	if f.ended[i] != 0 {
		r := &p.rows[f.ended[i]-1]
		e.flags |= flagMatched
		e.eff, e.weight = r.at, p.weightOf(r)
		if r.is(rowHasWeight) {
			e.flags |= flagMatchedHasWeight
		}
	}
	return e
}

// rowHolds appends the effective holds in the order of the rows.
func (p *Pair) rowHolds(dst []Hold) []Hold {
	f := p.fold()
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &p.rows[i]
		dst = append(dst, Hold{Start: r.at, End: f.endOf(i, r), Weight: p.weightOf(r)})
	}
	return dst
}

// settledRows is the area of the holds that end at t or before.
func (p *Pair) settledRows(f *fold, t int64) area {
	return p.areaRows(f, func(_, end int64) (int64, bool) { return end, end != 0 && end <= t })
}

// liveRows is the area of all holds, cut at t.
func (p *Pair) liveRows(f *fold, t int64) area {
	return p.areaRows(f, func(start, end int64) (int64, bool) {
		if end == 0 || end > t {
			end = t
		}
		return end, start < t
	})
}

// areaRows is the area of those holds that upTo takes, to the ends that it gives.
func (p *Pair) areaRows(f *fold, upTo func(start, end int64) (int64, bool)) area {
	var total area
	reach := int64(0)
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &p.rows[i]
		end, counts := upTo(r.at, f.endOf(i, r))
		if !counts || end <= r.at {
			continue
		}
		if r.at < reach {
			return p.sweepRows(f, upTo)
		}
		reach = end
		p.addRowArea(&total, r, uint64(end-r.at))
	}
	return total
}

// addPacked adds the weight of a row, which is not wide, over ns nanoseconds.
func (a *area) addPacked(what, ns uint64) {
	shift := uint(what>>rowShiftAt) % 64
	hi, lo := bits.Mul64(what>>rowNumberAt, ns)
	var carry uint64
	a.sum[0], carry = bits.Add64(a.sum[0], lo<<shift, 0)
	a.sum[1], carry = bits.Add64(a.sum[1], hi<<shift|lo>>(64-shift), carry)
	a.sum[2], carry = bits.Add64(a.sum[2], hi>>(64-shift), carry)
	for i := 3; carry != 0 && i < len(a.sum); i++ {
		a.sum[i], carry = bits.Add64(a.sum[i], 0, carry)
	}
}

// sweepRows is areaRows where holds overlap.
func (p *Pair) sweepRows(f *fold, upTo func(start, end int64) (int64, bool)) area {
	var buf [smallMax]span
	spans, reach := buf[:0], int64(0)
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &p.rows[i]
		if end, counts := upTo(r.at, f.endOf(i, r)); counts && end > r.at {
			spans = append(spans, span{start: r.at, end: end, weight: p.weightOf(r)})
			reach = max(reach, end)
		}
	}
	var total area
	if len(spans) == 0 {
		return total
	}
	sweep(p.policy, spans, spans[0].start, reach, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.addLevel(&level, uint64(to-from), false)
			total.held += uint64(to - from)
		}
	})
	return total
}

// chainRows is the area of all rows where they are ended holds that follow one
// another, and the end of the last one: nothing is to be folded then.
func (p *Pair) chainRows() (total area, end int64, ok bool) {
	last := int64(0)
	for i := range p.rows {
		r := &p.rows[i]
		if r.at < end || r.at <= last || r.end == 0 || r.what&(rowSent|rowRetracted|rowStop) != rowSent {
			return area{}, 0, false
		}
		last, end = r.at, r.end
		p.addRowArea(&total, r, uint64(end-last))
	}
	return total, end, true
}

// addRowArea adds a row's weight over ns nanoseconds, which are held.
func (p *Pair) addRowArea(total *area, r *row, ns uint64) {
	total.held += ns
	if r.is(rowWide) {
		total.addLevel(&p.aside.wide[r.what>>rowNumberAt], ns, false)
		return
	}
	total.addPacked(r.what, ns)
}

// figuresOfRows is Figures of a small pair.
func (p *Pair) figuresOfRows(at int64) Figures {
	if total, end, ok := p.chainRows(); ok && end <= at {
		a := total.amount()
		return Figures{Settled: a, Line: Line{Base: a, Since: at}}
	}
	f := p.fold()
	settled := p.settledRows(&f, forever)
	out := Figures{Settled: settled.amount(), Line: Line{Since: at}, Waiting: f.waiting}
	out.Line.Base = out.Settled
	var level Weight
	next, past := int64(forever), true
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &p.rows[i]
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
		w := p.weightOf(r)
		if p.policy == Sum {
			add(level[:], w[:])
		} else {
			level.raise(&w)
		}
	}
	if !past {
		live := p.liveRows(&f, at)
		out.Line.Base = live.amount()
		mul(out.Line.Rate[:], level[:], 1e6)
	}
	if next != forever {
		out.Line.Until = next
	}
	return out
}
