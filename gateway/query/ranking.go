package query

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// ranking keeps the boards: one over all tokens, made from the snapshots, and one
// for each of the tokens that were asked for lately, made from the store.
//
// It begins with the first question, and then follows the snapshots until the
// gateway closes. It is safe for concurrent use.
type ranking struct {
	b     *Generation
	ruled bool // scores may jump where lines end

	mu      sync.Mutex
	started bool
	overall *board
	after   uint64        // the point of the snapshots that overall has all of
	built   chan struct{} // closed when overall has what there was at the start
	tokens  map[string]*tokenBoard
	pins    pins

	asked     []*tokenBoard // to be made
	batch     []*tokenBoard // being made
	stopBatch context.CancelFunc
	building  bool          // a goroutine makes what was asked for
	read      atomic.Uint64 // rows that were read to make boards

	stop    context.CancelFunc
	running sync.WaitGroup
	closed  bool
	life    context.Context
}

const (
	// rankPace is how often the boards take over what changed while nobody asks; who
	// asks has them do so at once.
	rankPace = 100 * time.Millisecond
	// rankChunk is how many changes are taken over under one lock.
	rankChunk = 128
)

func newRanking(b *Generation) *ranking {
	// Pins are numbered from anywhere, so that a cursor of another gateway, or of
	// this one before it was started again, names none.
	r := &ranking{b: b, pins: pins{last: rand.Uint64() >> 1}, built: make(chan struct{}), tokens: map[string]*tokenBoard{}}
	r.ruled = b.RulesVersion != "" && b.RulesVersion != hold.NoRulesVersion
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// close ends what goes on and waits for it.
func (r *ranking) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.running.Wait()
}

// begun reports whether a ranking was asked for.
func (r *ranking) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// begin starts to follow the snapshots, and waits until the overall board is made.
func (r *ranking) begin(ctx context.Context) error {
	r.mu.Lock()
	if !r.started && !r.closed {
		r.started = true
		r.overall = newBoard(r.b.S.Now())
		r.running.Go(r.follow)
	}
	r.mu.Unlock()
	select {
	case <-r.built:
		return nil
	case <-r.life.Done():
		return ErrDraining
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow makes the overall board and keeps the boards up to date.
func (r *ranking) follow() {
	r.build()
	close(r.built)
	pace := time.NewTicker(rankPace)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-r.life.Done():
			return
		}
		r.catchUp()
		// What fails is tried again with the next tick, and reported to the next request.
		for _, t := range r.inUse() {
			_ = r.refresh(r.life, t)
		}
	}
}

// build makes the overall board of the snapshots that there are.
func (r *ranking) build() {
	after := r.b.Snapshots.Last()
	rows := make([]*rankRow, 0, r.b.Snapshots.Len())
	r.b.Snapshots.Each(func(c projection.Change) bool {
		if row, _, err := snapshotRow(c.Key, c.Value); err == nil {
			rows = append(rows, row)
		}
		return r.life.Err() == nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overall.load(rows)
	r.after = after
}

// catchUp takes over what changed of the snapshots.
func (r *ranking) catchUp() {
	var changes []projection.Change
	for more := true; more; {
		r.mu.Lock()
		var next uint64
		changes, next = r.b.Snapshots.AppendChanges(changes[:0], r.after, rankChunk)
		for i := range changes {
			r.take(&changes[i])
		}
		more, r.after = next != r.after, next
		r.mu.Unlock()
	}
}

// take takes over one change. A snapshot that does not decode is as good as none.
func (r *ranking) take(c *projection.Change) {
	holder, err := holderOf(c)
	if err != nil {
		return
	}
	if c.Gone {
		r.overall.drop(holder)
		for _, t := range r.tokens {
			t.changed(holder, 0)
		}
		return
	}
	row, f, err := snapshotRow(c.Key, c.Value)
	if err != nil {
		r.overall.drop(holder)
		return
	}
	r.overall.set(row, &f)
	if len(r.tokens) > 0 {
		s, _ := projection.ReadSnapshot(c.Value)
		for _, t := range r.tokens {
			t.changed(row.holder, s.Position)
		}
	}
}

// hold has the lines of a board that have ended at t stand still from their end on,
// until the owner of the partition publishes their next piece. r.mu is held.
func (r *ranking) hold(b *board, t int64) {
	for _, row := range b.expired(t) {
		f := row.read()
		end := f.line.Until
		if r.ruled { // by rules a score may jump at the very end
			end = max(end-1, f.line.Since)
		}
		f.line = hold.Line{Base: f.line.At(end), Since: end}
		b.set(figuresRow(row.holder, f), &f)
	}
}

// pin is the state that one or more pages are of.
type pin struct {
	id      uint64
	by      RankBy
	token   string
	state   rankState
	at      int64 // the instant, unix nanoseconds
	applied int64
	made    time.Time
	used    time.Time
}

// pins are the states that cursors name. There is a bounded number of them: the
// one that was not used for longest goes.
type pins struct {
	last uint64
	all  map[uint64]*pin
}

const (
	// maxPins bounds what cursors hold on to. A pin costs what has changed since it
	// was made.
	maxPins = 32
	// pinAge is how long first pages share one pin, so that many who look
	// at the same ranking take one of the places.
	pinAge = 200 * time.Millisecond
)

func (p *pins) add(n *pin) *pin {
	if p.all == nil {
		p.all = map[uint64]*pin{}
	}
	if len(p.all) >= maxPins {
		var oldest *pin
		for _, other := range p.all {
			if oldest == nil || other.used.Before(oldest.used) {
				oldest = other
			}
		}
		delete(p.all, oldest.id)
	}
	p.last++
	n.id = p.last
	p.all[n.id] = n
	return n
}
