package hold

import "math/bits"

// eachSpan gives the holds that cover anything by start, and of one start in any
// order, until fn says false. The end of an open one is forever. Of a large pair
// it leaves in memory what was there before.
func (p *Pair) eachSpan(fn func(*span) bool) {
	if p.timeline == nil {
		f := p.fold()
		p.eachRowSpan(&f, fn)
		return
	}
	var s span
	each := func(e *entry) bool {
		if !e.is(flagCovers) {
			return true
		}
		s = span{start: e.at, end: e.effEndOrForever(), weight: e.weight}
		return s.start == s.end || fn(&s)
	}
	if p.Large() {
		p.eachEntry(each)
		return
	}
	p.root.visit(&key{}, each)
}

// eachRowSpan is eachSpan of a small pair.
func (p *Pair) eachRowSpan(f *fold, fn func(*span) bool) {
	var s span
	for set := f.holds; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		r := &p.rows[i]
		s = span{start: r.at, end: f.endOf(i, r), weight: p.weightOf(r)}
		if s.end == 0 {
			s.end = forever
		}
		if s.start != s.end && !fn(&s) {
			return
		}
	}
}

// later is t + ns, forever where that is beyond any time.
func later(t, ns int64) int64 {
	if ns > forever-t {
		return forever
	}
	return t + ns
}
