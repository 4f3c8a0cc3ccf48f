package watch

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Sink is the client's end of a watch. It is used by one goroutine.
type Sink interface {
	// Update sends what became of a holder in a generation, with live figures that
	// are of seenAt or later, where they are sent and their line goes so far.
	Update(b *query.Generation, c *projection.Change, seenAt int64) error
	// Complete sends the mark that everything current was sent. resumed says that
	// it was sent earlier, up to the point where the watch goes on.
	Complete(resumed bool) error
	// EndRound says that everything of a generation up to a point was sent, and lets
	// it go out.
	EndRound(b *query.Generation, point Point) error
	// Heartbeat says that the watch lives.
	Heartbeat() error
}

// Observer counts watches. api is grpc or http.
type Observer interface {
	// WatchOpened counts a client that watches until ended is called.
	WatchOpened(api string) (ended func())
	// WatchStalled counts a watch that was closed because its client did not read.
	WatchStalled(api string)
	// WatchSent counts what a watcher was sent.
	WatchSent(api string, n int)
}

// ErrStalled says that a watcher did not take what it was sent.
var ErrStalled = errors.New("gateway: the watch was closed, because what it sent was not read; read faster, watch fewer holders, or ask for a longer interval")

// Query is a watch of snapshots.
type Query struct {
	query.StatsQuery
	Live      bool          // also changes that leave the settled figures as they are
	Every     time.Duration // the least time between two updates of one holder
	From      string        // id of the point to go on from; empty: from the beginning
	Heartbeat time.Duration // 0: none
}

// Check returns an error if the query cannot be answered.
func (q *Query) Check() error {
	if err := q.CheckInterval(); err != nil {
		return err
	}
	if q.Window != nil {
		return &hold.FieldError{Field: "watch", Err: query.ErrTogether, Detail: "a watch is of the present"}
	}
	return q.StatsQuery.Check()
}

// CheckInterval returns a [*hold.FieldError] if the interval is out of range, or nil.
func (q *Query) CheckInterval() error {
	if q.Every < 0 || q.Every > MaxInterval {
		return &hold.FieldError{Field: "min_interval", Err: query.ErrRange, Detail: "it is up to " + MaxInterval.String()}
	}
	return nil
}

// MaxInterval is the longest time that a watch may leave between two updates of
// one holder.
const MaxInterval = time.Hour

// watchState is what a watcher keeps: a point in the view's history or, where it
// watches some holders, one of each.
type watchState struct {
	h       *Hub
	b       *query.Generation // pinned; nil between two
	line    *query.Lineage    // of the generation that the watch is at
	q       *Query
	sink    Sink
	holders nameList // as the client named them; none: all
	keys    nameList // of the holders, as the generation's rules have them
	client  string
	caller  *auth.Caller
	// place is where the hub has the watch.
	place *watcher
	base  uint64 // watching all: everything up to here was sent
	// settled is the same of what changed the settled figures; at base or behind it.
	settled uint64
	sent    []uint64 // watching some: what was sent of each, 0: nothing; nil: nothing of any
	// seenAt is when the last round ended that sent something: no live figure that was
	// sent is of a later instant, and none that comes is of an earlier one.
	seenAt int64
}

// Watch sends what is current, the mark, and then what changes, until ctx ends or
// the sink fails. It takes the holders out of q, and keeps them in less memory. The
// error is [ErrTooMany] if more would be watched than the bounds allow; nothing was sent
// then.
func (h *Hub) Watch(ctx context.Context, q *Query, sink Sink) error {
	closed, err := auth.CallerOf(ctx).OpenWatch()
	if err != nil {
		return err
	}
	defer closed()
	s := &watchState{h: h, b: h.reads.Pin(), q: q, sink: sink, client: query.ClientOf(ctx), caller: auth.CallerOf(ctx), holders: newNameList(q.Holders)}
	q.Holders = nil
	defer s.depart()
	from := pointOf(s.b, q.From)
	s.line, s.base, s.settled = s.b.Lineage, from.base, from.settled
	if s.base > 0 {
		s.seenAt = h.reads.Now() // what the client has may be as late as that
	}
	if err := s.join(); err != nil {
		return err
	}
	defer func() { h.leave(s.place) }()
	sent, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.seenAt = h.reads.Now()
	beat := time.NewTimer(q.Heartbeat)
	defer beat.Stop()
	if q.Heartbeat <= 0 {
		beat.Stop()
	}
	for {
		// A round has each holder once at most, so the rest after it is the least
		// time between two updates of one.
		if sent > 0 {
			if err := s.rest(ctx, beat); err != nil {
				return err
			}
		}
		select {
		case <-s.place.wake:
		case <-s.line.Left:
		case <-beat.C:
			if err := sink.Heartbeat(); err != nil {
				return err
			}
			beat.Reset(q.Heartbeat)
			sent = 0
			continue
		case <-h.over:
			return query.ErrDraining
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.line.Over() {
			sent, err = s.cross(ctx)
		} else {
			sent, err = s.round(ctx)
		}
		if err != nil {
			return err
		}
		if sent > 0 {
			s.seenAt = h.reads.Now()
		}
		if sent > 0 && q.Heartbeat > 0 {
			beat.Reset(q.Heartbeat)
		}
	}
}

// join takes the watch's place in the hub, by the names that the rules of the
// generation have for its holders.
func (s *watchState) join() error {
	asked := auth.Reading{}
	if s.caller.Narrowed() {
		asked.Holders = s.holders.all()
	}
	if err := s.caller.MayRead(asked, s.b.Rules); err != nil {
		return err
	}
	keys := keysOf(&s.holders, s.b.Rules)
	if s.place != nil && keys.equal(&s.keys) {
		return nil
	}
	place, err := s.h.join(s.client, keys, s.place)
	if err != nil {
		return err
	}
	s.keys, s.place = keys, place
	return nil
}

// ofAll reports whether all holders are watched.
func (s *watchState) ofAll() bool { return s.holders.len() == 0 }

// sentOf returns what was sent of a holder, by the place of its key.
func (s *watchState) sentOf(i int) uint64 {
	if s.sent == nil {
		return 0
	}
	return s.sent[i]
}

func (s *watchState) setSent(i int, number uint64) {
	if s.sent == nil {
		s.sent = make([]uint64, s.keys.len())
	}
	s.sent[i] = number
}

// rest waits for the least time between two updates, and says why where the watch
// is over before.
func (s *watchState) rest(ctx context.Context, beat *time.Timer) error {
	if s.q.Every <= 0 {
		return nil
	}
	timer := time.NewTimer(s.q.Every)
	defer timer.Stop()
	left := s.line.Left
	for {
		select {
		case <-timer.C:
			return nil
		case <-left:
			s.depart()
			left = nil
		case <-beat.C:
			if err := s.sink.Heartbeat(); err != nil {
				return err
			}
			beat.Reset(s.q.Heartbeat)
		case <-s.h.over:
			return query.ErrDraining
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell sends what became of a holder, and gives the number of the change.
func (s *watchState) tell(c *projection.Change) (number uint64, err error) {
	return c.Number, s.sink.Update(s.b, c, s.seenAt)
}

// begin sends what is current and the mark.
func (s *watchState) begin(ctx context.Context) (sent int, err error) {
	resumed := s.base > 0 && s.ofAll()
	if resumed {
		if sent, err = s.recent(ctx); err != nil {
			return sent, err
		}
	} else {
		point := s.b.Snapshots.Last()
		if sent, err = s.pass(ctx); err != nil {
			return sent, err
		}
		s.base, s.settled = point, point
	}
	if err := s.sink.Complete(resumed); err != nil {
		return sent, err
	}
	return sent, s.sink.EndRound(s.b, s.point())
}

// Point is what was sent of a view's history, where all holders are watched.
type Point struct {
	base    uint64 // everything up to here, but for what follows
	settled uint64 // what changed the settled figures; at base or behind it, see recent
}

func (s *watchState) point() Point { return Point{s.base, min(s.base, s.settled)} }

// round sends what changed since the last one.
func (s *watchState) round(ctx context.Context) (sent int, err error) {
	s.h.busy(1)
	defer s.h.busy(-1)
	if s.ofAll() {
		sent, err = s.recent(ctx)
	} else {
		point := s.b.Snapshots.Last()
		sent, err = s.pass(ctx)
		s.base, s.settled = point, point
	}
	if err != nil || sent == 0 {
		return sent, err
	}
	return sent, s.sink.EndRound(s.b, s.point())
}

// recentMost is how many changes a round takes at once, the newest first.
const recentMost = 64

// recentChanges are memory for rounds: only watchers that are at work have any.
var recentChanges = sync.Pool{New: func() any { s := make([]projection.Change, 0, recentMost); return &s }}

// recent sends what changed, where all holders are watched.
func (s *watchState) recent(ctx context.Context) (sent int, err error) {
	memory := recentChanges.Get().(*[]projection.Change)
	changes := (*memory)[:0]
	defer func() {
		clear(changes[:cap(changes)])
		*memory = changes[:0]
		recentChanges.Put(memory)
	}()
	changes, next, point, more := s.b.Snapshots.AppendLatest(changes, s.base, math.MaxUint64, recentMost)
	atOnce := !more
	for {
		for i := range changes {
			if !s.wants(&changes[i], s.base, s.settled) {
				continue
			}
			if _, err := s.tell(&changes[i]); err != nil {
				return sent, err
			}
			sent++
		}
		if !more {
			break
		}
		changes, next, _, more = s.b.Snapshots.AppendLatest(changes[:0], s.base, next, recentMost)
	}
	s.base = point
	// A holder that changed while others were sent has moved on to the next round.
	// If what changed then is not settled, an earlier change may be that is, and
	// that no client has seen: so seenAt stays as it was.
	if atOnce {
		s.settled = point
	}
	return sent, nil
}

// pass goes over the holders of the watch, each once: where all are watched it
// sends every one, else those that it has not sent as they are now.
func (s *watchState) pass(ctx context.Context) (sent int, err error) {
	if s.ofAll() {
		s.b.Snapshots.Each(func(c projection.Change) bool {
			if err = ctx.Err(); err == nil {
				sent++
				_, err = s.tell(&c)
			}
			return err == nil
		})
		return sent, err
	}
	for i := range s.keys.len() {
		key, before := s.keys.at(i), s.sentOf(i)
		c, ok := s.b.Snapshots.Lookup(key)
		switch {
		case !ok && before > 0:
			c = projection.Change{Key: key, Gone: true}
			s.setSent(i, 0)
		case ok && s.wants(&c, before, before):
		default:
			continue
		}
		number, err := s.tell(&c)
		if err != nil {
			return sent, err
		}
		if !c.Gone {
			s.setSent(i, number)
		}
		sent++
	}
	return sent, nil
}

// wants reports whether a change is to be sent to a client that has everything up
// to one point, and everything settled up to another one.
func (s *watchState) wants(c *projection.Change, point, settled uint64) bool {
	return c.Number > point && (s.q.Live || c.Settled > settled)
}
