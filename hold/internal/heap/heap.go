// Package heap is a binary heap of values.
//
// It differs from container/heap in that nothing is boxed: a heap on the stack
// stays there. So items are compared by value, not through pointers.
package heap

// Heap keeps the item that is before all others on top. Items is the heap's
// storage; a caller may give it capacity, and must not change its order.
type Heap[T any] struct {
	Items  []T
	Before func(a, b T) bool
}

// Len returns the number of items.
func (h *Heap[T]) Len() int { return len(h.Items) }

// Top returns the item that is before all others. The heap must not be empty.
func (h *Heap[T]) Top() *T { return &h.Items[0] }

// Clear removes all items and keeps the storage.
func (h *Heap[T]) Clear() { h.Items = h.Items[:0] }

// Push adds an item.
func (h *Heap[T]) Push(v T) {
	h.Items = append(h.Items, v)
	for i := len(h.Items) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.Before(h.Items[i], h.Items[up]) {
			return
		}
		h.Items[i], h.Items[up] = h.Items[up], h.Items[i]
		i = up
	}
}

// Pop removes the item on top and returns it. The heap must not be empty.
func (h *Heap[T]) Pop() T {
	top, last := h.Items[0], len(h.Items)-1
	h.Items[0] = h.Items[last]
	h.Items = h.Items[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return top
		}
		if down+1 < last && h.Before(h.Items[down+1], h.Items[down]) {
			down++
		}
		if !h.Before(h.Items[down], h.Items[i]) {
			return top
		}
		h.Items[i], h.Items[down] = h.Items[down], h.Items[i]
		i = down
	}
}
