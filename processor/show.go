package processor

import (
	"context"
	"fmt"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// In the process of the bucket's one owner readers need not wait for the bucket: each
// snapshot is shown to them in memory, before the bucket has it. The bucket is written
// beside that, for readers elsewhere and for the next start.
//
// Who reads sets the pace. A holder that somebody watches is shown with the batch of
// messages that changed it. All others are shown together, with a rest after it that is
// showRests times as long as it took and showWithin at most; at once if a reader waits
// for a position. So no snapshot that readers see is older than the partition by more
// than showWithin and the time of a batch. A partition that replays the log shows no
// more often than it flushes what nobody watches.
//
// The bucket conflates: under load it rests bucketRests times as long as its last round
// took, and bucketWithin at most.
//
// A position is shown when all that changed up to it was shown. A view that is opened
// reads from the bucket what was published before, and is shown what was not. Positions
// wait until it has that; see shower.from.

const (
	showRests    = 4
	showWithin   = 250 * time.Millisecond
	showLook     = 20 * time.Millisecond // between two looks whether views have what they read from the bucket
	bucketRests  = 4
	bucketWithin = 2 * time.Second
	// replayAge is how old the messages of a partition are, at least, that replays
	// the log. Others that are many are load.
	replayAge = 2 * time.Second
)

// display shows snapshots to readers in this process; *projection.Snapshots is the one
// that counts.
type display interface {
	Feeds() uint64
	Show(partition int, entries []projection.Entry, to *projection.Reached)
	Shown(partition int) uint64
	Watches(key string) bool
	WatchesAll() bool
}

// shownSnapshot is a snapshot that was shown, and that the bucket does not have yet.
type shownSnapshot struct {
	value    []byte
	position uint64
	until    int64
}

// shower shows the snapshots of a partition. It belongs to the partition's loop.
type shower struct {
	*scope
	mem     *memory
	pub     *publisher
	display display // nil: all readers read the bucket

	feeds    uint64 // the display's number, when all that the bucket lacks was to be shown
	list     []*holder
	looked   int                       // up to here nobody watches them
	latest   map[*holder]shownSnapshot // of those that wait for the bucket
	position uint64                    // that was shown
	from     uint64                    // views have all up to there from the bucket, before a position is shown
	rests    time.Time                 // until when those rest that nobody watches

	entries []projection.Entry // scratch
	watched []*holder          // scratch
	timer   *time.Timer
	armed   time.Time // when the timer runs out; zero: it does not run

	left  int       // of the bucket's round: holders
	began time.Time // of the round
	next  time.Time // when the next one may begin
}

func newShower(s *scope, mem *memory, pub *publisher, to display) *shower {
	return &shower{scope: s, mem: mem, pub: pub, display: to, latest: map[*holder]shownSnapshot{}, timer: stoppedTimer()}
}

// shows reports whether readers in this process are fed.
func (s *shower) shows() bool { return s.feeds != 0 }

// changed notes that a holder changed which waits for the bucket.
func (s *shower) changed(h *holder) {
	if !s.shows() || h.isUnshown() {
		return
	}
	h.setUnshown(true)
	delete(s.latest, h)
	s.list = append(s.list, h)
}

// feed begins again where a view was opened, and ends where all were closed.
func (s *shower) feed() {
	if s.display == nil {
		return
	}
	feeds := s.display.Feeds()
	if feeds == s.feeds {
		return
	}
	s.feeds = feeds
	for _, h := range s.list {
		h.setUnshown(false)
	}
	clear(s.latest)
	s.list, s.looked, s.position, s.from = emptied(s.list), 0, 0, s.pub.published
	if feeds != 0 {
		s.pub.queue.each(s.changed)
	}
}

// turn shows what is to be shown now.
func (s *shower) turn(ctx context.Context) error {
	s.feed()
	if !s.shows() || !s.pub.current() {
		return nil
	}
	switch now := time.Now(); {
	case s.wantsAll(now):
		return s.showAll(ctx, now)
	case s.looked < len(s.list):
		return s.showWatched(ctx)
	}
	return nil
}

// pending reports whether something is to be shown, be it a position.
func (s *shower) pending() bool {
	return len(s.list) > 0 || s.position != s.mem.position
}

// wantsAll reports whether all are to be shown now.
func (s *shower) wantsAll(now time.Time) bool {
	if !s.pending() {
		return false
	}
	if s.board.showWanted.CompareAndSwap(true, false) {
		return true
	}
	switch {
	case now.Before(s.rests):
		return false
	case s.display.WatchesAll():
		return true
	}
	return !s.replays(now) || s.flush() || len(s.list) >= publishMost
}

// replays reports whether the partition is so far behind the log that hardly anybody
// reads what it has.
func (s *shower) replays(now time.Time) bool {
	return s.mem.farBehind() && s.cfg.Now().UnixNano()-s.mem.clock > int64(replayAge)
}

// flush reports whether something was flushed that was not shown.
func (s *shower) flush() bool { return s.position < s.pub.flush.encoded }

// showWatched shows the holders that somebody watches.
func (s *shower) showWatched(ctx context.Context) error {
	s.watched = s.watched[:0]
	for _, h := range s.list[s.looked:] {
		if h.isUnshown() && s.display.Watches(ingest.SubjectToken(h.name)) {
			s.watched = append(s.watched, h)
		}
	}
	s.looked = len(s.list)
	if len(s.watched) == 0 {
		return nil
	}
	s.board.applying()
	if err := s.mem.settle(ctx); err != nil {
		return err
	}
	if err := s.show(s.watched); err != nil {
		return err
	}
	clear(s.watched)
	s.flushEntries()
	return nil
}

// showAll shows all that were not shown as they are now, and the position.
func (s *shower) showAll(ctx context.Context, now time.Time) error {
	s.board.applying()
	if err := s.mem.settle(ctx); err != nil {
		return err
	}
	if err := s.show(s.list); err != nil {
		return err
	}
	s.list, s.looked = emptied(s.list), 0
	var to *projection.Reached
	if s.from == 0 || s.display.Shown(s.id) >= s.from {
		reached := s.mem.reached()
		to, s.from, s.position = &reached, 0, reached.Position
	}
	s.display.Show(s.id, s.entries, to)
	clear(s.entries)
	end := time.Now()
	s.rests = end.Add(min(showRests*end.Sub(now), showWithin))
	if to == nil {
		s.rests = end.Add(showLook)
	}
	return nil
}

// show encodes those of some holders into entries that were not shown as they are now.
// They are settled.
func (s *shower) show(some []*holder) error {
	s.entries = s.entries[:0]
	for _, h := range some {
		if !h.isUnshown() {
			continue
		}
		if err := s.add(h); err != nil {
			return err
		}
	}
	return nil
}

// add adds a holder to entries, which is shown with them.
func (s *shower) add(h *holder) error {
	record := h.record()
	value, err := s.pub.encode(&record)
	if err != nil {
		return err
	}
	h.setUnshown(false)
	s.entries = append(s.entries, projection.Entry{Key: ingest.SubjectToken(h.name), Value: value})
	s.latest[h] = shownSnapshot{value, record.Position, record.Figures.Line.Until}
	s.pub.refresh.published(h.name, record.Position, record.Figures.Line.Until)
	s.metrics.snapshot(h, &record)
	return nil
}

// take gives the snapshot of a holder that is taken out of the bucket's queue. What was
// not shown yet is shown with entries.
func (s *shower) take(h *holder) (projection.Entry, error) {
	if h.isUnshown() {
		if err := s.add(h); err != nil {
			return projection.Entry{}, err
		}
	}
	shown := s.latest[h]
	delete(s.latest, h)
	// The end of its line may have been passed over while it waited.
	s.pub.refresh.published(h.name, shown.position, shown.until)
	return projection.Entry{Key: ingest.SubjectToken(h.name), Value: shown.value}, nil
}

// flushEntries shows the entries that were added, without a position.
func (s *shower) flushEntries() {
	if len(s.entries) > 0 {
		s.display.Show(s.id, s.entries, nil)
		clear(s.entries)
	}
}

// refreshed shows snapshots with other lines where readers are shown any. It returns what
// the bucket is to have.
func (s *shower) refreshed(lines []projection.HolderRecord) (entries []projection.Entry, holders []projection.HolderRecord, err error) {
	if !s.shows() {
		return nil, lines, nil
	}
	for i := range lines {
		value, err := s.pub.encode(&lines[i])
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, projection.Entry{Key: ingest.SubjectToken(lines[i].Holder), Value: value})
	}
	if len(entries) > 0 {
		s.display.Show(s.id, entries, nil)
	}
	return entries, nil, nil
}

// roundMost is how many holders may go to the bucket now; 0: it rests.
func (s *shower) roundMost(now time.Time) int {
	if s.left == 0 {
		waiting := s.pub.queue.len()
		if now.Before(s.next) && waiting < publishMost/2 {
			return 0
		}
		s.left, s.began = max(waiting, 1), now
	}
	return s.left
}

// took notes that holders went to the bucket, and ends a round.
func (s *shower) took(n int) {
	if s.left = max(s.left-max(n, 1), 0); s.pub.queue.len() == 0 {
		s.left = 0
	}
}

// rest begins the rest of the bucket after a round.
func (s *shower) rest(now time.Time) {
	if s.left == 0 {
		s.next = now.Add(min(bucketRests*now.Sub(s.began), bucketWithin))
	}
}

// wake is when something is to be looked at again; nil: never.
func (s *shower) wake() <-chan time.Time {
	if !s.shows() {
		return nil
	}
	at := time.Time{}
	if s.pending() && s.pub.current() {
		at = s.rests
	}
	if s.left == 0 && s.pub.queue.len() > 0 && (at.IsZero() || s.next.Before(at)) {
		at = s.next
	}
	if at.IsZero() {
		return nil
	}
	// What is due has something else in its way: a flush, or the turn.
	now := time.Now()
	if at.Before(now) {
		at = now.Add(showLook)
	}
	if s.armed.IsZero() || at.Before(s.armed) {
		s.armed = at
		s.timer.Reset(at.Sub(now))
	}
	return s.timer.C
}

// woken notes that the timer has run out.
func (s *shower) woken() { s.armed = time.Time{} }

// showSoon has a partition show what was not shown, since a reader waits for its position.
func (w *Worker) showSoon(partition int) {
	p, err := w.at(partition)
	if err != nil {
		return
	}
	p.board.showWanted.Store(true)
	p.board.rouse()
}

// record is the holder as its snapshot has it. It is settled.
func (h *holder) record() projection.HolderRecord {
	return projection.HolderRecord{Holder: h.name, Figures: h.figures(), UpdatedAt: h.updatedAt, Position: h.position}
}

// encode returns the snapshot of a record.
func (p *publisher) encode(r *projection.HolderRecord) ([]byte, error) {
	value, err := projection.EncodeSnapshot(r, p.cfg.Rules.Version(), p.bucket.Generation())
	if err != nil {
		return nil, fmt.Errorf("processor: partition %d: snapshot of holder %q: %w", p.id, r.Holder, err)
	}
	return value, nil
}
