package projection

import "sync"

// gate is where what the bucket says comes into a view, one message at a time. It
// can be shut for a while, and is closed for good with the view.
type gate struct {
	mu           sync.Mutex
	moved        sync.Cond
	shut, closed bool
}

func (g *gate) init() { g.moved.L = &g.mu }

// pass runs f when the gate is open, and never once it is closed.
func (g *gate) pass(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut && !g.closed {
		g.moved.Wait()
	}
	if !g.closed {
		f()
	}
}

// set changes the state of the gate when nothing is on its way through.
func (g *gate) set(change func()) {
	g.mu.Lock()
	change()
	g.mu.Unlock()
	g.moved.Broadcast()
}

// Freeze keeps the view as it is, for readers and for those who wait for a
// position, until Thaw or Close. What the bucket says meanwhile waits; so it is for
// seconds, not more: a watch of which nothing is taken for long is made again.
func (v *View) Freeze() { v.gate.set(func() { v.gate.shut = true }) }

// Thaw ends Freeze.
func (v *View) Thaw() {
	v.gate.set(func() {
		v.gate.shut = false
		if !v.gate.closed {
			v.showHeld()
		}
	})
}
