package processor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// A live line breaks where a known end, a season, a boost step or a shortest run
// says so, without an event. Nobody extrapolates a snapshot past its until, so the
// owner of the partition publishes the next piece of the line when it begins: the
// same snapshot, of the same position and settled figures, with another line.
//
// The next piece begins at an instant that the holder's pairs determine, and it is
// drawn as of that instant. So the bytes follow from the log and from which pieces
// have begun; the clock only decides when they are published. Nothing is stored.
//
// The refresher keeps an index of the ends of all lines that the partition published.
// A new owner finds them again by a walk over the store's holders. The store has the
// line as of each holder's last event, and the bucket may have a later piece; the
// walk asks the bucket before it draws one whose stored line is over, so a restart
// publishes nothing twice. The index is bounded (lineEnds.horizon): the walk is
// repeated when the clock reaches an end that the index had no room for.
//
// Lines are drawn from a view of the store, beside the loop of the partition, which
// never waits for it. A line is drawn only of a holder whose latest event is stored
// and published, and it is dropped where an event came first. So no snapshot steps
// back. Where the store is away, lines end, and are drawn when it is back.

const (
	// refreshMost bounds the index of a partition, at about 200 bytes an entry.
	refreshMost = 1 << 14
	// refreshWalk is how many holders of the store a walk reads at once.
	refreshWalk = 2048
	// refreshLook is the longest time between two looks at the clock, which may be set.
	refreshLook = time.Second
	// refreshSoon is the pause before an end is looked at again that is over and could
	// not be drawn yet, because the store is behind the snapshot.
	refreshSoon = 50 * time.Millisecond
	// refreshAgain is how long the store is left alone after it failed.
	refreshAgain = time.Second
)

// refresher draws the next pieces of the lines that a partition published. The
// fields belong to the partition's loop; run and what it calls use none but those
// that are fixed.
type refresher struct {
	partition  int
	partitions int // of the log
	rules      hold.Rules
	store      projection.Store
	bucket     snapshots // set by begin
	now        func() time.Time
	applied    func() uint64 // the position up to which the partition is applied
	acked      func() uint64 // the position up to which the bucket has acknowledged snapshots
	wanted     *atomic.Bool  // somebody asks for a comparison of the snapshots
	shown      *atomic.Pointer[shown]
	recheck    *atomic.Uint64
	suspects   *suspects
	chunk      int // lines that are drawn at once
	step       int // holders that a walk reads at once

	ends     *lineEnds
	begun    bool
	fresh    bool // this owner has published every snapshot, so the first walk compares none
	walking  bool
	audits   audits
	over     []*lineEnd // of the walk: over already, so the index need not keep them
	after    string     // the walk has passed this holder
	passed   int        // holders by the walk so far
	from     uint64     // the walk waits until the store has this position
	keysFrom uint64     // so do the suspects; 0: none wait
	gone     []string   // keys to be removed from the bucket
	position bool       // the position is to be published again
	look     bool       // something may be due
	waits    bool       // a line has ended, and is drawn when the store has its holder's last event
	again    time.Time
	busy     bool                      // a job is under way
	drawing  map[string]bool           // holders of the job, and of drawn; without those that events overtook
	drawn    []projection.HolderRecord // snapshots with the pieces that hold now, to be published
	timer    *time.Timer
	armed    bool  // the timer is set
	armedFor int64 // what next was then

	jobs chan *refreshJob
	done chan refreshDone
}

// refreshJob is one piece of work beside the loop: lines to draw, or a step of the
// walk.
type refreshJob struct {
	now    int64
	ends   []*lineEnd
	walk   bool
	last   string   // walk: begin behind this holder
	passed int      // walk: holders up to there
	ours   bool     // walk: compare nothing, for all snapshots were just published
	keys   []string // compare the snapshots of these, which somebody else wrote
	with   *shown   // walk, keys: compare these, too; nil: none
}

// refreshDone is what became of a job.
type refreshDone struct {
	job      *refreshJob
	lines    []projection.HolderRecord // snapshots with the pieces that hold now
	known    []lineEnd                 // ends of later pieces that the bucket has already
	behind   []*lineEnd                // the store's view did not have these yet
	found    []lineEnd                 // walk
	differ   []*lineEnd                // walk, keys: the bucket has other snapshots of these
	unknown  []string                  // walk, keys: the store has no such holder
	passed   int                       // walk: holders up to last, see extra
	position bool                      // keys: the position is among them
	took     time.Duration             // walk
	last     string                    // walk: the last holder; "": the walk is over
	err      error
}

func newRefresher(s *scope) *refresher {
	partition, cfg := s.id, s.cfg
	return &refresher{
		partition: partition, partitions: s.log.Partitions(), rules: cfg.Rules, store: cfg.Store, now: cfg.Now, chunk: cfg.turn, step: cfg.refreshWalk,
		audits:   audits{every: cfg.auditEvery},
		applied:  func() uint64 { status, _ := s.board.snapshot(); return status.Position },
		acked:    func() uint64 { status, _ := s.board.snapshot(); return status.Published },
		wanted:   &s.board.auditWanted,
		shown:    &s.controls.shown,
		recheck:  &s.controls.recheck,
		suspects: &s.board.suspects,
		ends:     newLineEnds(cfg.refreshMost), drawing: map[string]bool{}, timer: stoppedTimer(),
		jobs: make(chan *refreshJob, 1), done: make(chan refreshDone, 1),
	}
}

// begin has the ends of lines looked for that were published before this owner
// started. The partition is at position, and its bucket has no backlog. fresh: the
// store was empty, so that this owner has published the snapshots of all holders.
func (r *refresher) begin(bucket snapshots, position uint64, fresh bool) {
	r.bucket, r.begun, r.fresh = bucket, true, fresh
	r.walk(position)
}

func (r *refresher) walk(position uint64) {
	r.walking, r.after, r.passed, r.from, r.look = true, "", 0, position, true
	if of := r.current(); r.audits.of != of {
		r.audits.of, r.audits.published = of, false
	}
	r.over, r.ends.horizon = nil, 0
}

// published notes that a snapshot is on its way to readers, whose line ends at until.
func (r *refresher) published(holder string, position uint64, until int64) {
	delete(r.drawing, holder)
	r.ends.set(holder, position, until)
}

// latest reports whether position is that of the latest event of a holder, and
// whether a snapshot of it was published.
type latest func(holder string, position uint64) bool

// start begins the next piece of work, if there is one and none is under way, and
// otherwise sets the timer. The store has all up to stored.
func (r *refresher) start(position, stored uint64, is latest) {
	if !r.begun || r.busy || r.toPublish() {
		return
	}
	if r.look && !time.Now().Before(r.again) {
		if job := r.next(position, stored, is); job != nil {
			r.busy = true
			r.jobs <- job // has room: one is under way at most
			return
		}
		r.look = false
	}
	r.arm()
}

// next is the next job, or nil.
func (r *refresher) next(position, stored uint64, is latest) *refreshJob {
	now := r.now().UnixNano()
	job := &refreshJob{now: now}
	var early []*lineEnd
	for len(job.ends) == 0 {
		due := r.ends.due(now, r.chunk)
		if len(due) == 0 {
			n := min(r.chunk, len(r.over))
			due, r.over = r.over[:n], r.over[n:]
		}
		if len(due) == 0 {
			break
		}
		for _, e := range due {
			switch {
			case !is(e.holder, e.position) || r.ends.byHolder[e.holder] != nil && !e.differs: // another snapshot is on its way
			case e.position > stored:
				early = append(early, e)
			default:
				job.ends = append(job.ends, e)
				r.drawing[e.holder] = true
			}
		}
	}
	r.ends.back(early)
	r.waits = len(early) > 0
	if len(job.ends) > 0 {
		return job
	}
	if r.keysFrom == 0 && r.suspects.waiting() {
		r.keysFrom = max(position, 1)
	}
	if r.keysFrom != 0 && stored >= r.keysFrom || r.keysFrom == 1 && position == 0 {
		r.keysFrom = 0
		job.keys, job.with = r.suspects.take(r.step), r.audits.of.with
		return job
	}
	if !r.walking && (r.ends.horizon != 0 && r.ends.horizon <= now || r.audits.due(time.Now(), r.wanted, r.current())) {
		r.walk(position)
	}
	if r.walking && stored >= r.from {
		job.walk, job.last, job.passed, job.with = true, r.after, r.passed, r.audits.of.with
		job.ours = r.fresh && !r.audits.once
		return job
	}
	return nil
}

// arm sets the timer for the next end.
func (r *refresher) arm() {
	if r.look { // the store is left alone for a while
		r.timer.Reset(max(time.Until(r.again), 0))
		return
	}
	next := r.ends.next()
	if r.armed && next == r.armedFor {
		return
	}
	r.timer.Stop()
	wait := r.audits.wait(time.Now())
	if r.armed, r.armedFor = true, next; next != 0 {
		wait = min(time.Duration(next-r.now().UnixNano()), refreshLook, wait)
	}
	if wait <= 0 {
		wait = refreshSoon
	}
	r.timer.Reset(wait)
}

// rouse has the clock looked at again.
func (r *refresher) rouse() { r.look, r.armed = true, false }

// finish takes the result of a job. An error that trying again cannot heal is
// returned; any other is left to the next try, and reported to note.
func (r *refresher) finish(d refreshDone, note func(error)) error {
	r.busy = false
	r.rouse()
	note(d.err)
	if d.err != nil {
		r.again = time.Now().Add(refreshAgain)
		for _, e := range d.job.ends {
			if r.drawing[e.holder] {
				d.behind = append(d.behind, e)
			}
		}
		d.lines, d.known = nil, nil
	}
	for i := range d.known {
		if e := &d.known[i]; r.drawing[e.holder] {
			r.ends.set(e.holder, e.position, e.until)
		}
	}
	r.drawn = d.lines
	still := make(map[string]bool, len(d.lines))
	for i := range d.lines {
		if name := d.lines[i].Holder; r.drawing[name] {
			still[name] = true
		}
	}
	r.drawing = still
	r.ends.back(d.behind)
	if len(d.behind) > 0 {
		r.waits = true
		r.look = false // not before a flush, or the timer
	}
	if len(d.job.keys) > 0 {
		r.compared(&d)
	}
	if r.begun && r.walking && r.audits.of != r.current() {
		r.walk(r.from) // from the beginning: what was compared is no longer there
		r.fresh = false
		d.differ, d.found, d.unknown = nil, nil, nil
	} else if d.job.walk && d.err == nil {
		for i := range d.found {
			if e := &d.found[i]; e.until <= d.job.now {
				r.over = append(r.over, e)
			} else {
				r.ends.offer(*e)
			}
		}
		r.over = append(r.over, d.differ...)
		r.gone = append(r.gone, d.unknown...)
		r.after, r.passed, r.walking = d.last, d.passed, d.last != ""
		r.audits.step(d, !r.walking)
	}
	if d.err != nil && lasting(d.err) {
		return fmt.Errorf("processor: partition %d: refresh the lines of snapshots: %w", r.partition, d.err)
	}
	return nil
}

// compared takes the result of a comparison of keys. What failed is tried again.
func (r *refresher) compared(d *refreshDone) {
	if d.err != nil {
		for _, key := range d.job.keys {
			r.suspects.add(key)
		}
		return
	}
	r.over = append(r.over, d.differ...)
	r.gone = append(r.gone, d.unknown...)
	r.position = r.position || d.position
	d.differ, d.unknown = nil, nil
}

// ready reports whether there are lines to publish, or keys to remove.
func (r *refresher) ready() bool { return r != nil && r.toPublish() }

func (r *refresher) toPublish() bool { return len(r.drawn) > 0 || len(r.gone) > 0 || r.position }

// trusted notes that nothing is left of what somebody else wrote, if that is so.
func (r *refresher) trusted() {
	if r.suspects.some.Load() && !r.busy && len(r.over) == 0 && !r.toPublish() && !r.suspects.waiting() {
		r.suspects.some.Store(false)
		if r.suspects.waiting() { // one that came meanwhile
			r.suspects.some.Store(true)
		}
	}
}

// idle reports whether no line is known to be over that was not drawn.
func (r *refresher) idle() bool {
	next := r.ends.next()
	return r.begun && !r.walking && !r.busy && len(r.over) == 0 && len(r.drawn) == 0 && (next == 0 || next > r.now().UnixNano())
}

// take takes out the lines to publish, without those that events have overtaken.
func (r *refresher) take() []projection.HolderRecord {
	out := make([]projection.HolderRecord, 0, len(r.drawn))
	for i := range r.drawn {
		line := &r.drawn[i]
		if r.drawing[line.Holder] {
			out = append(out, *line)
			r.published(line.Holder, line.Position, line.Figures.Line.Until)
		}
	}
	r.drawn = nil
	r.rouse()
	return out
}

// run does jobs until jobs is closed.
func (r *refresher) run(ctx context.Context) {
	for job := range r.jobs {
		d := refreshDone{job: job}
		switch {
		case job.walk:
			d.err = r.find(ctx, &d)
		case len(job.keys) > 0:
			d.err = r.compare(ctx, &d)
		default:
			d.err = r.draw(ctx, &d)
		}
		r.done <- d
	}
}

// find reads the next holders of the store, compares their snapshots, and keeps the
// ends of their lines.
func (r *refresher) find(ctx context.Context, d *refreshDone) error {
	began := time.Now()
	enough := errors.New("enough")
	var holders []projection.HolderRecord
	err := r.store.Holders(ctx, r.partition, d.job.last, func(h *projection.HolderRecord) error {
		h.Holder = strings.Clone(h.Holder)
		if holders = append(holders, *h); len(holders) < r.step {
			return nil
		}
		d.last = h.Holder
		return enough
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	var fits []bool
	if !d.job.ours {
		if fits, err = r.audit(ctx, holders, d.job.with); err != nil {
			return err
		}
	}
	for i := range holders {
		h := &holders[i]
		switch until := h.Figures.Line.Until; {
		case fits != nil && !fits[i]:
			d.differ = append(d.differ, &lineEnd{holder: h.Holder, position: h.Position, until: 1, differs: true})
		case until != 0:
			d.found = append(d.found, lineEnd{holder: h.Holder, position: h.Position, until: until, stored: true})
		}
	}
	d.passed = d.job.passed + unshown(holders, d.job.with)
	if d.last == "" {
		if d.unknown, err = r.extra(ctx, d.job.with, d.passed); err != nil {
			return err
		}
	}
	d.took = time.Since(began)
	return nil
}

// draw draws the lines of a job.
func (r *refresher) draw(ctx context.Context, d *refreshDone) error {
	ends, err := r.unpublished(ctx, d)
	if err != nil || len(ends) == 0 {
		return err
	}
	view, err := r.store.View(ctx, r.partition)
	if err != nil {
		return err
	}
	defer view.Close()
	at, _ := view.Checkpoint()
	for _, e := range ends {
		if e.position > at.Position {
			d.behind = append(d.behind, e)
			continue
		}
		record, err := view.Holder(ctx, e.holder)
		if errors.Is(err, projection.ErrNotFound) || err == nil && record.Position != e.position {
			continue // another snapshot is on its way
		}
		if err != nil {
			return err
		}
		line, err := lineAt(ctx, view, r.rules, e, d.job.now)
		if err != nil {
			return err
		}
		next := *record
		next.Holder, next.Figures.Line = e.holder, line
		d.lines = append(d.lines, next)
	}
	return nil
}

// unpublished asks the bucket about the ends that were found in the store. It returns
// those whose next piece is to be drawn.
func (r *refresher) unpublished(ctx context.Context, d *refreshDone) ([]*lineEnd, error) {
	var keys []string
	for _, e := range d.job.ends {
		if e.stored {
			keys = append(keys, ingest.SubjectToken(e.holder))
		}
	}
	if len(keys) == 0 {
		return d.job.ends, nil
	}
	values, err := r.bucket.Values(ctx, keys)
	if err != nil {
		return nil, err
	}
	var ends []*lineEnd
	for _, e := range d.job.ends {
		if e.stored {
			value := values[0]
			values = values[1:]
			if s, err := projection.ReadSnapshot(value); value != nil && err == nil && s.Position == e.position {
				until := s.Line.Until
				if until == 0 || until > d.job.now {
					d.known = append(d.known, lineEnd{holder: e.holder, position: e.position, until: until})
					continue
				}
			}
		}
		ends = append(ends, e)
	}
	return ends, nil
}

// lineAt is the piece of a holder's line that holds at now, as of the instant at
// which it begins. The line up to the end e is known.
func lineAt(ctx context.Context, view projection.PartitionView, rules hold.Rules, e *lineEnd, now int64) (hold.Line, error) {
	var all sum
	begin, until := int64(0), int64(0)
	err := view.Pairs(ctx, e.holder, func(r *projection.PairRecord) error {
		line := r.Figures.Line
		if line.Until != 0 && line.Until <= now {
			pair, err := r.Open()
			if err != nil {
				return projection.PairError(r.Key, err)
			}
			rule := rules.Of(r.Key.Token)
			for at := max(line.Until, e.until); ; at = max(line.Until, at+1) {
				if line = rule.Figures(pair, at).Line; line.Until == 0 || line.Until > now {
					break
				}
			}
			if err := r.Check(pair); err != nil {
				return err
			}
		}
		all.add(&hold.Figures{Line: line})
		begin = max(begin, line.Since)
		if until == 0 || line.Until != 0 && line.Until < until {
			until = line.Until
		}
		return nil
	})
	f := all.at(begin, until)
	return f.Line, err
}
