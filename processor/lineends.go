package processor

import (
	"cmp"
	"container/heap"
	"slices"
)

// lineEnd is a published snapshot whose line ends at until.
type lineEnd struct {
	holder   string
	position uint64 // of the snapshot
	until    int64  // ns
	stored   bool   // found in the store: the bucket may have a later line of the same position
	differs  bool   // the bucket has another snapshot than the store, whatever its line

	slot int // in lineEnds.order
}

// lineEnds is the index of a partition's snapshots by the end of their lines. It
// has one entry a holder and is bounded: it keeps the earliest ends, and horizon is
// the earliest of those that it had no room for. The store finds them again.
type lineEnds struct {
	most     int
	byHolder map[string]*lineEnd
	order    lineEndHeap
	horizon  int64 // ns; ends before it are all here; 0: all ends are
}

func newLineEnds(most int) *lineEnds {
	return &lineEnds{most: most, byHolder: map[string]*lineEnd{}}
}

// next is the first end, or 0 if there is none. Ends that are not here count with
// the first of them.
func (l *lineEnds) next() int64 {
	switch {
	case len(l.order) == 0:
		return l.horizon
	case l.horizon == 0:
		return l.order[0].until
	}
	return min(l.order[0].until, l.horizon)
}

// set replaces the entry of a holder by that of its latest snapshot. A line without
// an end (until 0) has none.
func (l *lineEnds) set(holder string, position uint64, until int64) {
	if until == 0 || l.horizon != 0 && until >= l.horizon {
		if e := l.byHolder[holder]; e != nil {
			l.remove(e)
		}
		return
	}
	if e := l.byHolder[holder]; e != nil {
		e.position, e.until, e.stored = position, until, false
		heap.Fix(&l.order, e.slot)
		return
	}
	l.add(&lineEnd{holder: holder, position: position, until: until})
}

// offer adds the entry of a holder that has none.
func (l *lineEnds) offer(e lineEnd) {
	if l.byHolder[e.holder] == nil {
		l.add(&e)
	}
}

func (l *lineEnds) add(e *lineEnd) {
	if l.horizon != 0 && e.until >= l.horizon {
		return
	}
	if len(l.order) >= l.most {
		l.halve()
		if e.until >= l.horizon {
			return
		}
	}
	l.byHolder[e.holder] = e
	heap.Push(&l.order, e)
}

// halve drops the later half of the entries, so that the price of making room is
// shared by as many additions.
func (l *lineEnds) halve() {
	slices.SortFunc(l.order, func(a, b *lineEnd) int {
		return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.holder, b.holder))
	})
	kept := len(l.order) / 2
	l.horizon = l.order[kept].until
	for _, e := range l.order[kept:] {
		delete(l.byHolder, e.holder)
	}
	clear(l.order[kept:])
	l.order = l.order[:kept]
	for i, e := range l.order { // sorted, so a heap
		e.slot = i
	}
}

// due takes out the entries that end at now or before, at most so many.
func (l *lineEnds) due(now int64, most int) []*lineEnd {
	var due []*lineEnd
	for len(due) < most && len(l.order) > 0 && l.order[0].until <= now {
		e := l.order[0]
		l.remove(e)
		due = append(due, e)
	}
	return due
}

// back returns entries that due took out. One that was replaced meanwhile stays out.
func (l *lineEnds) back(entries []*lineEnd) {
	for _, e := range entries {
		if l.byHolder[e.holder] == nil {
			l.byHolder[e.holder] = e
			heap.Push(&l.order, e)
		}
	}
}

func (l *lineEnds) remove(e *lineEnd) {
	delete(l.byHolder, e.holder)
	heap.Remove(&l.order, e.slot)
}

type lineEndHeap []*lineEnd

func (h lineEndHeap) Len() int           { return len(h) }
func (h lineEndHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h lineEndHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h *lineEndHeap) Push(x any) {
	e := x.(*lineEnd)
	e.slot = len(*h)
	*h = append(*h, e)
}

func (h *lineEndHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
