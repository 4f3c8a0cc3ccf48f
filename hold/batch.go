package hold

import "runtime"

// Addition is a fact to be added to a pair.
type Addition struct {
	Pair *Pair
	Fact Fact
	New  bool // set by AddAll: whether the fact was not there
}

// AddAll adds each fact to its pair, in order, as [Pair.Add] does. A pair may occur
// more than once.
//
// It is meant for some hundreds of facts of many pairs. With more pairs than fit the
// processor's caches, an Add mostly waits for memory: for the pair, and then for its
// rows. So AddAll first reads from all pairs, and then from all rows. These reads do
// not wait for each other, and the facts are added to what is in the cache.
func AddAll(additions []Addition) {
	var seen int64
	for i := range additions {
		seen ^= additions[i].Pair.last
	}
	for i := range additions {
		a := &additions[i]
		seen ^= (*rows)(a.Pair).look(max(a.Fact.Start, a.Fact.End))
	}
	runtime.KeepAlive(seen) // or the looks would be compiled away
	for i := range additions {
		a := &additions[i]
		a.New = a.Pair.add(&a.Fact)
	}
}

// look reads what an Add of a fact of about that time reads of a small pair.
func (s *rows) look(at int64) (seen int64) {
	n := len(s.list)
	if n == 0 {
		return 0
	}
	seen = s.list[n-1].at
	if at > s.last {
		return seen
	}
	// Three rows are a little more than a cache line of 64 bytes.
	for i := 0; i < n; i += 3 {
		seen ^= s.list[i].at
	}
	return seen
}
