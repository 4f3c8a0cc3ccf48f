package hold

import "runtime"

// Addition is a fact on its way into a pair.
type Addition struct {
	Pair *Pair
	Fact Fact
	New  bool // AddAll's answer: false where the fact was there already
}

// AddAll adds each fact to its pair, in order, as [Pair.Add] does. A pair may come
// more than once.
//
// It is for whoever has many facts of many pairs at hand, some hundreds at a time.
// Where there are more pairs than the processor's caches hold, an Add is mostly
// waiting for memory: for the pair, and then for its rows. So AddAll looks at all
// pairs first, and then at all rows. These looks do not wait for one another, and
// what they fetch is there when the facts are added.
func AddAll(additions []Addition) {
	var seen int64
	for i := range additions {
		seen ^= additions[i].Pair.last
	}
	for i := range additions {
		a := &additions[i]
		seen ^= a.Pair.look(max(a.Fact.Start, a.Fact.End))
	}
	runtime.KeepAlive(seen) // or the looks would be compiled away
	for i := range additions {
		a := &additions[i]
		a.New = a.Pair.add(&a.Fact)
	}
}

// look reads what an Add of a fact of about that time reads of a small pair.
func (p *Pair) look(at int64) (seen int64) {
	n := len(p.rows)
	if n == 0 {
		return 0
	}
	seen = p.rows[n-1].at
	if at > p.last {
		return seen
	}
	// Three rows are a little more than a cache line of 64 bytes.
	for i := 0; i < n; i += 3 {
		seen ^= p.rows[i].at
	}
	return seen
}
