package query

import (
	"container/heap"

	"holdmetrics/projection"
)

// breaking is a line that will break.
type breaking struct {
	until  int64
	number uint64 // of the change that brought it
}

type breakAt struct {
	key string
	breaking
}

type breakOrder []breakAt

func (o breakOrder) Len() int           { return len(o) }
func (o breakOrder) Less(i, j int) bool { return o[i].until < o[j].until }
func (o breakOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *breakOrder) Push(x any)        { *o = append(*o, x.(breakAt)) }
func (o *breakOrder) Pop() any {
	old := *o
	last := old[len(old)-1]
	old[len(old)-1] = breakAt{}
	*o = old[:len(old)-1]
	return last
}

// next is when the next line breaks; 0: none is known to.
func (r *relining) next() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skip()
	if len(r.order) == 0 {
		return 0
	}
	return r.order[0].until
}

// skip drops entries at the front that no longer hold.
func (r *relining) skip() {
	for len(r.order) > 0 && r.breaks[r.order[0].key] != r.order[0].breaking {
		heap.Pop(&r.order)
	}
}

// look takes over what changed of the snapshots.
func (r *relining) look() {
	var changes []projection.Change
	for {
		r.mu.Lock()
		if r.none {
			r.mu.Unlock()
			return
		}
		var next uint64
		changes, next = r.b.Snapshots.AppendChanges(changes[:0], r.after, relineLook)
		more := next != r.after
		r.after = next
		for i := range changes {
			r.set(&changes[i])
		}
		r.mu.Unlock()
		if !more {
			return
		}
	}
}

// set notes when the line of a change breaks. r.mu is held.
func (r *relining) set(c *projection.Change) {
	until := int64(0)
	if !c.Gone {
		until = SnapshotUntil(c.Value)
	}
	if until == 0 {
		delete(r.breaks, c.Key)
		return
	}
	r.push(breakAt{c.Key, breaking{until, c.Number}})
}

func (r *relining) push(b breakAt) {
	r.breaks[b.key] = b.breaking
	heap.Push(&r.order, b)
	if len(r.order) > 2*len(r.breaks)+breaksSpared {
		kept := r.order[:0]
		for _, e := range r.order {
			if r.breaks[e.key] == e.breaking {
				kept = append(kept, e)
			}
		}
		clear(r.order[len(kept):])
		r.order = kept
		heap.Init(&r.order)
	}
}

// due takes out the lines that are over at now, at most so many.
func (r *relining) due(now int64, most int) (due []breakAt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(due) < most {
		if r.skip(); len(r.order) == 0 || r.order[0].until > now {
			break
		}
		b := heap.Pop(&r.order).(breakAt)
		delete(r.breaks, b.key)
		due = append(due, b)
	}
	r.drawing = len(due)
	return due
}

// put puts back what was due, but for what has changed meanwhile.
func (r *relining) put(due []breakAt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.none {
		return
	}
	for _, b := range due {
		if c, ok := r.b.Snapshots.Lookup(b.key); ok && c.Number == b.number {
			r.push(b)
		}
	}
}
