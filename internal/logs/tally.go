package logs

import (
	"strings"
	"sync"
	"time"
)

// mostKinds bounds the kinds that a tally tells apart. Those beyond are of one kind.
const mostKinds = 256

// Tally makes one line of much that is of one kind: the first is logged at once, the
// others are counted and logged together after a while. It is safe for concurrent use.
type Tally struct {
	every time.Duration

	mu     sync.Mutex
	kinds  map[string]*tallied
	closed bool
}

// tallied is a kind that was logged within the last while.
type tallied struct {
	count int // since then
	line  func(count int)
	timer *time.Timer
}

// NewTally returns a tally that logs each kind once in so long at most. It must be closed.
func NewTally(every time.Duration) *Tally {
	return &Tally{every: every, kinds: map[string]*tallied{}}
}

// Note notes that something of a kind happened n times. If that is the first since the
// kind's line before, first is called for what logs the next line, which so tells of
// something that it counts. It gets how often it happened since the line before, and is
// called by any goroutine. A nil tally and one that is closed log nothing.
//
// The kind, and what first returns, must not refer to memory that is used again.
func (t *Tally) Note(kind string, n int, first func() func(count int)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	if t.kinds[kind] == nil && len(t.kinds) >= mostKinds {
		kind = ""
	}
	k := t.kinds[kind]
	if k != nil {
		if k.count == 0 {
			k.line = first()
		}
		k.count += n
		t.mu.Unlock()
		return
	}
	kept := strings.Clone(kind)
	line := first()
	k = &tallied{line: line}
	k.timer = time.AfterFunc(t.every, func() { t.due(kept, k) })
	t.kinds[kept] = k
	t.mu.Unlock()
	line(n) // not k's, which another note may set by now
}

// due logs what a kind has counted, or forgets the kind if that is nothing.
func (t *Tally) due(kind string, k *tallied) {
	t.mu.Lock()
	if t.kinds[kind] != k {
		t.mu.Unlock()
		return // closed
	}
	count, line := k.count, k.line
	if count == 0 {
		delete(t.kinds, kind)
	} else {
		k.count = 0
		k.timer.Reset(t.every)
	}
	t.mu.Unlock()
	if count > 0 {
		line(count)
	}
}

// Close logs what was counted and not logged yet. A nil tally does nothing.
func (t *Tally) Close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	kinds := t.kinds
	t.kinds, t.closed = nil, true
	t.mu.Unlock()
	for _, k := range kinds {
		k.timer.Stop()
		if k.count > 0 {
			k.line(k.count)
		}
	}
}
