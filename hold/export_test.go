package hold

import (
	"fmt"
	"reflect"
)

// Grown reports whether the pair has a timeline.
func (p *Pair) Grown() bool { return p.grown != nil }

// Grow gives the pair a timeline, if it has none.
func (p *Pair) Grow() { p.grow() }

// Difference returns in what the timelines of two grown pairs differ, down to what no
// figure shows, or nothing. Trees of more than one leaf are not compared.
func (p *Pair) Difference(q *Pair) string {
	a, b := p.grown, q.grown
	if a.tree.Pager() != nil || b.tree.Pager() != nil {
		return ""
	}
	for _, field := range []string{"entries", "areas", "summary", "leftmost", "dirty"} {
		if x, y := rootField(a, field), rootField(b, field); x != y {
			return fmt.Sprintf("%s:\n%s\nand\n%s", field, x, y)
		}
	}
	if a.wait != b.wait || a.facts != b.facts || a.bytes() != b.bytes() {
		return fmt.Sprintf("waiting %d, facts %d, bytes %d and %d, %d, %d", a.wait, a.facts, a.bytes(), b.wait, b.facts, b.bytes())
	}
	return ""
}

// rootField prints a field of the root of a timeline's tree.
func rootField(t *timeline, name string) string {
	return fmt.Sprintf("%+v", reflect.ValueOf(&t.tree).Elem().FieldByName("root").Elem().FieldByName(name))
}

// OpenUnchecked opens a large pair whose checksums are not compared.
func OpenUnchecked(policy Policy, root []byte, pages Pages) (*Pair, error) {
	return openRoot(policy, root, pages, true)
}

// Len returns the number of holds in the chain.
func (c *Chain) Len() int { return c.len }

// EachContributionIn is EachContribution with pages and an overlay of those sizes.
func (r *Rule) EachContributionIn(p *Pair, from, to int64, page, pieces int, yield func(*Contribution) bool) error {
	return r.eachContribution(p, from, to, page, pieces, func() error { return nil }, yield)
}
