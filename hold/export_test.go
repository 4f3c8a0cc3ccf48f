package hold

import (
	"fmt"
	"slices"
)

// Grown says whether the pair has a timeline.
func (p *Pair) Grown() bool { return p.timeline != nil }

// Grow gives the pair its timeline, if it has none yet.
func (p *Pair) Grow() {
	if p.timeline == nil {
		p.grow()
	}
}

// Difference says in what the timelines of two grown pairs differ, down to what
// no figure shows; empty: in nothing. Those of more than one leaf are not compared.
func (p *Pair) Difference(q *Pair) string {
	a, b := p.root, q.root
	switch {
	case !a.leaf() || !b.leaf():
		return ""
	case !slices.Equal(a.entries, b.entries):
		return fmt.Sprintf("entries:\n%+v\nand\n%+v", a.entries, b.entries)
	case a.areas != b.areas:
		return fmt.Sprintf("areas: %+v and %+v", a.areas, b.areas)
	case a.summary != b.summary:
		return fmt.Sprintf("summary: %+v and %+v", a.summary, b.summary)
	case a.leftmost != b.leftmost || a.dirty != b.dirty || p.waiting != q.waiting || p.facts != q.facts || p.size != q.size:
		return fmt.Sprintf("leftmost %v, dirty %v, waiting %d, facts %d, size %d and %v, %v, %d, %d, %d",
			a.leftmost, a.dirty, p.waiting, p.facts, p.size, b.leftmost, b.dirty, q.waiting, q.facts, q.size)
	}
	return ""
}

// OpenUnchecked opens a large pair whose checksums count for nothing.
func OpenUnchecked(policy Policy, root []byte, pages Pages) (*Pair, error) {
	return openRoot(policy, root, pages, true)
}
