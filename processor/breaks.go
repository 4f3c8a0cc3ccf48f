package processor

import "container/heap"

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

// next is the first break, 0 where there is none.
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
