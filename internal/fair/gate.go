// Package fair shares a bounded number of places among clients. A request that finds no
// place waits, and clients take turns: the only request of one client does not wait for
// all those of another.
package fair

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFull means that a gate has no place, and none became free in time or too many
// requests wait for one already.
var ErrFull = errors.New("no place is free")

// Config is what a gate allows. Places is required; a zero in another field means no
// limit.
type Config struct {
	Places      int           // requests that have a place at once
	Each        int           // of those, of one client
	Waiting     int           // requests that wait at once
	WaitingEach int           // of those, of one client
	Patience    time.Duration // how long a request waits
}

// Gate is a bounded number of places. It is safe for concurrent use.
type Gate struct {
	cfg Config
	// waits counts the requests that wait. It is read without mu by turns.
	waits atomic.Int64

	mu      sync.Mutex
	turns   map[*Turn]struct{}
	clients map[string]*client
	order   []*client // that have requests which wait, in rotation
	looks   bool      // a look for turns that are stuck is to come
}

// client is one that has a place or waits for one.
type client struct {
	name    string
	places  int
	waiting []*waiter
}

// waiter is a request that waits.
type waiter struct {
	turn *Turn
	in   chan struct{} // closed when it has a place
}

// New returns a gate.
func New(cfg Config) *Gate {
	return &Gate{cfg: cfg, turns: map[*Turn]struct{}{}, clients: map[string]*client{}}
}

// Waiting returns how many requests wait.
func (g *Gate) Waiting() int { return int(g.waits.Load()) }

// Held returns how many turns have a place.
func (g *Gate) Held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.turns)
}

// Turn is the use that one goroutine makes of a gate. It begins without a place.
type Turn struct {
	gate   *Gate
	client string
	state  atomic.Int32
	began  time.Time // of the place

	// What looks at turns belongs to the gate, under mu.
	pauses atomic.Uint32 // how often it has paused
	seen   uint32        // pauses, at the last look
}

// The states of a turn. One that pauses for long loses its place if another one wants it.
const (
	outside int32 = iota
	inside
	paused
)

// stuck is how long a turn may pause while others wait, at least, and twice that at most.
const stuck = time.Millisecond

// Turn returns a turn of a client. It is for one goroutine.
func (g *Gate) Turn(client string) *Turn { return &Turn{gate: g, client: client} }

// Enter waits for a place. It returns an error that wraps [ErrFull] if it must not wait
// or has waited long enough, or the cause of ctx's end.
func (t *Turn) Enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w, err := t.gate.enter(t)
	if w == nil {
		return err
	}
	var patience <-chan time.Time
	if t.gate.cfg.Patience > 0 {
		timer := time.NewTimer(t.gate.cfg.Patience)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case <-w.in:
		return nil
	case <-patience:
		err = fmt.Errorf("%w: none became free within %v", ErrFull, t.gate.cfg.Patience)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if t.gate.giveUp(w) {
		return err
	}
	return nil // it had got a place meanwhile
}

// Leave gives the place back, if the turn has one.
func (t *Turn) Leave() {
	if t.state.Load() != outside {
		t.gate.leave(t)
	}
}

// Pause is called before what may wait for something else, such as a client that does
// not read. If it lasts, others get the place. It costs next to nothing.
func (t *Turn) Pause() {
	t.pauses.Add(1)
	t.state.CompareAndSwap(inside, paused)
}

// Resume ends a pause. It waits for a place if the turn has lost its own.
func (t *Turn) Resume(ctx context.Context) error {
	if t.state.CompareAndSwap(paused, inside) || t.state.Load() == inside {
		return nil
	}
	return t.Enter(ctx)
}

// slice is how long a turn keeps its place while others wait.
const slice = time.Millisecond

// Over reports whether others wait and the turn has had its place for long enough.
func (t *Turn) Over() bool { return t.gate.waits.Load() > 0 && time.Since(t.began) >= slice }

// Yield lets others have the place if the turn is over, and waits for another one. Call
// it between the steps of what takes long.
func (t *Turn) Yield(ctx context.Context) error {
	if !t.Over() {
		return nil
	}
	t.Leave()
	return t.Enter(ctx)
}

// enter gives a place or returns what waits for one.
func (g *Gate) enter(t *Turn) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[t.client]
	if c == nil {
		c = &client{name: t.client}
		g.clients[t.client] = c
	}
	if len(g.turns) < g.cfg.Places && len(c.waiting) == 0 && g.mayHave(c) {
		g.give(c, t)
		return nil, nil
	}
	var err error
	switch {
	case g.cfg.Waiting > 0 && g.waits.Load() >= int64(g.cfg.Waiting):
		err = fmt.Errorf("%w, and %d requests wait for one", ErrFull, g.cfg.Waiting)
	case g.cfg.WaitingEach > 0 && len(c.waiting) >= g.cfg.WaitingEach:
		err = fmt.Errorf("%w, and %d requests of this client wait for one", ErrFull, g.cfg.WaitingEach)
	}
	if err != nil {
		g.forget(c)
		return nil, err
	}
	w := &waiter{turn: t, in: make(chan struct{})}
	g.waits.Add(1)
	if c.waiting = append(c.waiting, w); len(c.waiting) == 1 {
		g.order = append(g.order, c)
	}
	g.next()
	g.look()
	return w, nil
}

// look has the gate look for turns that are stuck in a while, if any request waits.
func (g *Gate) look() {
	if g.looks || len(g.order) == 0 {
		return
	}
	g.looks = true
	time.AfterFunc(stuck, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.looks = false
		g.takeStuck()
		g.next()
		g.look()
	})
}

func (g *Gate) mayHave(c *client) bool { return g.cfg.Each == 0 || c.places < g.cfg.Each }

func (g *Gate) give(c *client, t *Turn) {
	c.places++
	g.turns[t] = struct{}{}
	t.began = time.Now()
	t.state.Store(inside)
}

// takeStuck takes the places of turns that are in the same pause as at the last look.
func (g *Gate) takeStuck() {
	for t := range g.turns {
		if t.state.Load() != paused {
			continue
		}
		if pauses := t.pauses.Load(); pauses != t.seen {
			t.seen = pauses
			continue
		}
		if t.state.CompareAndSwap(paused, outside) {
			g.remove(t)
		}
	}
}

// remove takes a turn out, which is outside already.
func (g *Gate) remove(t *Turn) {
	delete(g.turns, t)
	c := g.clients[t.client]
	c.places--
	g.forget(c)
}

// forget drops a client that has nothing here.
func (g *Gate) forget(c *client) {
	if c.places == 0 && len(c.waiting) == 0 {
		delete(g.clients, c.name)
	}
}

func (g *Gate) leave(t *Turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.state.Swap(outside) == outside {
		return // another one took it
	}
	g.remove(t)
	g.next()
}

// next gives free places to those that wait: of the clients that have the fewest, to the
// one that has waited for longest.
func (g *Gate) next() {
	for len(g.turns) < g.cfg.Places && len(g.order) > 0 {
		at := -1
		for i, c := range g.order {
			if g.mayHave(c) && (at < 0 || c.places < g.order[at].places) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		c := g.order[at]
		g.order = append(g.order[:at], g.order[at+1:]...)
		w := c.waiting[0]
		if c.waiting = c.waiting[1:]; len(c.waiting) > 0 {
			g.order = append(g.order, c)
		}
		g.waits.Add(-1)
		g.give(c, w.turn)
		close(w.in)
	}
}

// giveUp takes out a request that waits, and reports whether it still waited.
func (g *Gate) giveUp(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[w.turn.client]
	if c == nil {
		return false
	}
	for i := range c.waiting {
		if c.waiting[i] != w {
			continue
		}
		c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
		if len(c.waiting) == 0 {
			for j := range g.order {
				if g.order[j] == c {
					g.order = append(g.order[:j], g.order[j+1:]...)
					break
				}
			}
		}
		g.waits.Add(-1)
		g.forget(c)
		return true
	}
	return false
}
