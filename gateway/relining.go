package gateway

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// relining keeps the snapshots' lines going.
//
// A line breaks where a known end, a season, a boost step or a shortest run says so,
// with no event, and nobody extrapolates past that. How it goes on only the holder's
// pairs know. So when a snapshot's line is over, they are read from the store, and
// the snapshot gets a line that begins now, in the view itself: with the same
// position and the same settled figures, it is one more change of its holder. So
// everybody goes on by what he does anyway: reads, rankings, and watchers, who are
// woken by it. No memory is needed for it but for the breaks that are to come.
//
// It is done when the time has come, by one goroutine with one timer; and by whoever
// asks before that, so that no answer is older than it must be.
//
// Where the store knows more of a holder than the snapshot, nothing is done: the next
// snapshot is on its way, and no answer is made of two positions. Where the store is
// away, or there is none, answers are as of the end of the line, and say so.
//
// It begins with the first question, and is safe for concurrent use.
type relining struct {
	b *backend

	mu      sync.Mutex
	started bool
	closed  bool
	after   uint64              // the point of the snapshots that breaks has all of
	breaks  map[string]breaking // by holder key
	order   breakOrder          // the same by time, and entries that breaks has left behind
	round   chan struct{}       // closed when a round has ended
	drawing int                 // lines that the round is at
	failed  time.Time           // when the store failed last
	poke    chan struct{}       // has an item when somebody waits for a round

	none    bool // there is no store
	stop    context.CancelFunc
	life    context.Context
	running sync.WaitGroup
}

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

const (
	// relinePace is the least time between two looks at what changed, while nobody asks.
	relinePace = 50 * time.Millisecond
	// relineChunk is how many lines are drawn anew of one view of a partition.
	relineChunk = 512
	// relineAgain is how long a store that failed is left alone.
	relineAgain = time.Second
	// relineWait is how long a read waits for the lines that are over.
	relineWait = 2 * time.Second
	// relineLook is how many changes are looked at at once.
	relineLook = 1024
	// breaksSpared are left-behind entries that are not worth a sweep.
	breaksSpared = 1024
)

func newRelining(b *backend) *relining {
	r := &relining{b: b, breaks: map[string]breaking{}, round: make(chan struct{}), poke: make(chan struct{}, 1)}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// close ends what goes on and waits for it.
func (r *relining) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.running.Wait()
}

// begun says whether anybody has asked yet.
func (r *relining) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// begin starts to keep lines going.
func (r *relining) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started && !r.closed {
		r.started = true
		r.running.Go(r.keep)
	}
}

// keep draws lines anew when they break.
func (r *relining) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := r.b.Snapshots.Changed() // before the look
		now := r.b.g.cfg.Now()
		err := r.work(r.life, now)
		if errors.Is(err, ErrNoStore) || r.life.Err() != nil {
			return
		}
		if err != nil {
			r.b.g.log.Warn("lines of snapshots end, and are not drawn anew; trying again", zap.Error(err))
		}
		// Not at once again: what changes all the time is looked at now and then.
		timer.Reset(relinePace)
		select {
		case <-timer.C:
		case <-r.poke:
			continue
		case <-r.life.Done():
			return
		}
		wait := time.Duration(1<<63 - 1)
		if next := r.next(); next != 0 {
			wait = max(time.Duration(next-r.b.g.cfg.Now()), relinePace)
		}
		if err != nil {
			wait = relineAgain
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-r.poke:
		case <-r.life.Done():
			return
		}
	}
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

// work is one round: it takes over what changed, and draws anew the lines that are
// over at now. Lines that could not be drawn are due again.
func (r *relining) work(ctx context.Context, now int64) error {
	r.look()
	var failure error
	for failure == nil && ctx.Err() == nil {
		due := r.due(now, relineChunk*r.b.g.cfg.Log.Partitions())
		if len(due) == 0 {
			break
		}
		if failure = r.draw(ctx, due, now); failure != nil {
			r.put(due)
		}
		r.look() // the new lines have an end, too
		r.mu.Lock()
		r.drawing = 0
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(failure)
	close(r.round)
	r.round = make(chan struct{})
	return failure
}

// note keeps how a try went. r.mu is held.
func (r *relining) note(err error) {
	switch {
	case errors.Is(err, ErrNoStore):
		r.none = true
		r.breaks, r.order = nil, nil
	case err != nil:
		r.failed = time.Now()
	}
}

// hopeless says that there is no use in trying now. r.mu is held.
func (r *relining) hopeless() bool {
	return r.none || r.closed || time.Since(r.failed) < relineAgain
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
		until = snapshotUntil(c.Value)
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

// draw draws lines anew, the partitions side by side.
func (r *relining) draw(ctx context.Context, due []breakAt, now int64) error {
	partitions := r.b.g.cfg.Log.Partitions()
	byPartition := make([][]projection.Change, partitions)
	for _, b := range due {
		c, ok := r.b.Snapshots.Lookup(b.key)
		holder, err := ingest.HolderOf(b.key)
		if ok && c.Number == b.number && err == nil {
			p := ingest.Partition(holder, partitions)
			byPartition[p] = append(byPartition[p], c)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for p, changes := range byPartition {
		if len(changes) > 0 {
			group.Go(func() error { return r.drawPartition(ctx, p, changes, now) })
		}
	}
	return group.Wait()
}

// drawPartition draws anew the lines of a partition that are over at now.
func (r *relining) drawPartition(ctx context.Context, partition int, changes []projection.Change, now int64) error {
	last := uint64(0)
	for i := range changes {
		last = max(last, snapshotPosition(changes[i].Value))
	}
	// The store may be behind the snapshots, but not for long.
	if last > 0 {
		if err := r.b.awaitApplied(ctx, []int{partition}, last); err != nil {
			return err
		}
	}
	view, err := r.b.view(ctx, partition)
	if err != nil {
		return err
	}
	defer view.Close()
	for i := range changes {
		if err := r.drawOne(ctx, view, &changes[i], now); err != nil {
			return err
		}
	}
	return nil
}

func (r *relining) drawOne(ctx context.Context, view projection.PartitionView, c *projection.Change, now int64) error {
	stat := new(holdpb.HoldStat)
	if proto.Unmarshal(c.Value, stat) != nil {
		return nil // whoever reads it says so
	}
	if until := stat.GetUntil(); until == nil || until.AsTime().UnixNano() > now {
		return nil
	}
	record, err := view.Holder(ctx, stat.HolderId)
	if errors.Is(err, projection.ErrNotFound) || err == nil && record.Position != stat.Position {
		return nil // another snapshot is on its way
	}
	if err != nil {
		return storeError(ctx, err)
	}
	line, found, err := r.b.lineAt(ctx, view, stat.HolderId, "", now)
	if err != nil || !found {
		return err
	}
	setLine(stat, &line)
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(stat)
	if err != nil {
		return err
	}
	r.b.Snapshots.Reline(*c, value)
	return nil
}

// setLine gives a snapshot another line.
func setLine(s *holdpb.HoldStat, l *hold.Line) {
	s.LiveBase, s.LiveRate = l.Base.Score.String(), l.Rate.String()
	s.LiveHeldBase, s.LiveHeldRate = l.Base.Held.String(), l.HeldRate
	s.Since, s.Until = timestamppb.New(timeOf(l.Since)), nil
	if l.Until != 0 {
		s.Until = timestamppb.New(timeOf(l.Until))
	}
}

// lineAt is the line of a holder, or of one token of it, that holds at t; false where
// there are no pairs.
func (b *backend) lineAt(ctx context.Context, view projection.PartitionView, holder, token string, t int64) (line hold.Line, found bool, err error) {
	err = holderPairs(ctx, view, holder, token, func(record *projection.PairRecord) error {
		own := record.Figures.Line
		if !own.Holds(t) {
			pair, err := record.Open()
			if err != nil {
				return err
			}
			own = b.Rules.Of(record.Key.Token).Figures(pair, t).Line
			if err := record.Check(pair); err != nil {
				return err
			}
		}
		if found {
			own = line.Plus(own)
		}
		line, found = own, true
		return nil
	})
	return line, found, storeError(ctx, err)
}

// named has the lines of some holders hold at now, where that can be had.
func (r *relining) named(ctx context.Context, keys []string, now int64) {
	r.mu.Lock()
	hopeless := r.hopeless()
	r.mu.Unlock()
	if hopeless {
		return
	}
	var over []breakAt
	for _, key := range keys {
		if c, ok := r.b.Snapshots.Lookup(key); ok {
			if until := snapshotUntil(c.Value); until != 0 && until <= now {
				over = append(over, breakAt{key, breaking{until, c.Number}})
			}
		}
	}
	if len(over) == 0 {
		return
	}
	within, cancel := context.WithTimeout(ctx, relineWait)
	defer cancel()
	if err := r.draw(within, over, now); err != nil && ctx.Err() == nil {
		r.mu.Lock()
		r.note(err)
		r.mu.Unlock()
	}
}

// all has all lines hold at now, as far as that can be had within relineWait.
func (r *relining) all(ctx context.Context, now int64) {
	ctx, cancel := context.WithTimeout(ctx, relineWait)
	defer cancel()
	for {
		r.look()
		r.mu.Lock()
		r.skip()
		held := r.drawing == 0 && (len(r.order) == 0 || r.order[0].until > now)
		hopeless, round := r.hopeless(), r.round
		r.mu.Unlock()
		if held || hopeless {
			return
		}
		select {
		case r.poke <- struct{}{}:
		default:
		}
		select {
		case <-round:
		case <-ctx.Done():
			return
		}
	}
}
