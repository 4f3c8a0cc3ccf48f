package processor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/tracing"
	"holdmetrics/projection"
)

// snapshots is what the worker needs of the bucket; *projection.Snapshots is the
// one that counts.
type snapshots interface {
	Publish(ctx context.Context, partition int, entries []projection.Entry, to projection.Reached) error
	Position(ctx context.Context, partition int) (uint64, error)
	Owed(ctx context.Context, partition int) (bool, error)
	SetOwed(ctx context.Context, partition int, owed bool) error
	Values(ctx context.Context, keys []string) ([][]byte, error)
	Renew(ctx context.Context) (bool, error)
	Renewals() uint64
	Generation() string
}

const (
	// publishMost bounds how many holders wait to be published. The reader waits
	// at it, so a bucket that is away makes no partition grow.
	publishMost = 1 << 15
	// publishChunk is how many holders are published at once at a start.
	publishChunk = 1000
	// turnHolders is how many holders a partition publishes in one turn. On a busy
	// machine a turn takes some eight milliseconds whatever is in it, so smaller
	// ones publish less; larger ones make the way round longer, which is some
	// seventy milliseconds for sixteen partitions.
	turnHolders = 512
	// publishTurns is how many partitions publish at once: while one waits for its
	// acknowledgement another encodes.
	publishTurns = 2
	// publishLate is how many messages behind the log make a partition late.
	publishLate = 8
	// publishBulk is how many holders make a turn one of load: after it the bucket
	// rests a quarter as long as it took, or publishBehind times as long while the
	// partition is late. What changes meanwhile is published once.
	// Without the rest a flood of events spends the machine on snapshots that the
	// next ones replace. Where nothing has come meanwhile there is no flood, and
	// no rest.
	publishBulk   = 64
	publishBehind = 3
	// publishRest is the longest rest: a publish that took long because the
	// machine was busy says nothing of the next one.
	publishRest = 50 * time.Millisecond
)

type publishJob struct {
	holders []projection.HolderRecord
	entries []projection.Entry // beside holders: snapshots that readers were shown
	gone    []string           // keys of the bucket that no holder has
	to      projection.Reached
	behind  bool
	backlog *backlog // not holders, but what the store has up to there
	count   int      // of snapshots that were published
	turn    bool     // the turn was taken for it, and is passed on after it
	trail   tracing.Trail
}

// rest is how long the bucket rests after a publish that took so long.
func (j *publishJob) rest(took time.Duration) time.Duration {
	switch {
	case j.count < publishBulk:
		return 0
	case j.behind:
		return min(publishBehind*took, publishRest)
	}
	return min(took/4, publishRest)
}

type publishDone struct {
	job  *publishJob
	took time.Duration
	err  error
}

// publisher hands the snapshots of holders to the bucket, one publish at a time: start
// encodes them, run publishes them in a goroutine of its own, and finish notes the end.
type publisher struct {
	*scope
	mem   *memory
	flush *flusher

	bucket        snapshots // nil: none
	queue         publishQueue
	published     uint64          // what the bucket has all of with the last publish that was handed over
	publishedTime int64           // the log's time of published
	floor         uint64          // the bucket may have snapshots up to here, from before the start
	backlog       *backlog        // what is to be published from the store once that has passed floor
	waiting       tracing.Waiting // spans of messages that are not published
	busy          bool            // a publish is on its way
	began         time.Time
	turn          chan struct{} // the worker's: has publishTurns items, which the partitions that publish hold
	jobs          chan *publishJob
	done          chan publishDone

	show      *shower
	refresh   *refresher // nil: there is no bucket
	refreshed bool       // the last publish was of refreshed lines
}

func newPublisher(s *scope, mem *memory, flush *flusher, bucket snapshots, turn chan struct{}) *publisher {
	p := &publisher{
		scope: s, mem: mem, flush: flush, bucket: bucket, turn: turn,
		jobs: make(chan *publishJob, 1), done: make(chan publishDone, 1),
	}
	to, _ := bucket.(display)
	if _, several := bucket.(fencer); several {
		to = nil // which may show nothing before the bucket has taken it
	}
	p.show = newShower(s, mem, p, to)
	if bucket != nil {
		p.refresh = newRefresher(s)
	}
	return p
}

// changed notes that an event has changed a holder, before which the partition was at
// before.
func (p *publisher) changed(h *holder, before projection.Reached) {
	p.queue.change(h, before)
	p.show.changed(h)
}

// run publishes snapshots until jobs is closed. With each job, but for the
// last of a partition that stops, comes the turn of the bucket, which it passes
// on after a rest.
//
// The partitions take turns, publishTurns of them, because the bucket is one
// stream, which takes one message after the other: side by side they would only
// wait there, with snapshots that are out of date by the time they are stored.
func (p *publisher) run(ctx, running context.Context) {
	for job := range p.jobs {
		began := time.Now()
		span := p.trace(job)
		err := p.do(ctx, job)
		span.End(err)
		took := time.Since(began)
		p.done <- publishDone{job, took, err}
		if !job.turn {
			continue
		}
		if s, _ := p.board.snapshot(); s.Position != job.to.Position {
			_ = backoff.Wait(running, job.rest(took)) // the others should not wait for one that stops
		}
		p.turn <- struct{}{}
	}
}

// trace starts the span of a publish; nil: nothing in it is of a sampled request.
func (p *publisher) trace(job *publishJob) *tracing.Span {
	if job.trail.Empty() {
		return nil
	}
	return p.cfg.Tracer.Start(&job.trail, tracing.Step{Name: "publish snapshots", Kind: trace.SpanKindProducer, Attributes: []attribute.KeyValue{
		tracing.System.String(tracing.NATS), tracing.Destination.String(projection.BucketName(p.generation())), tracing.PartitionID.String(strconv.Itoa(p.id)),
		tracing.OperationName.String("publish"), tracing.OperationType.String(tracing.OperationSend), tracing.MessageCount.Int(len(job.holders) + len(job.entries)),
		tracing.Position.Int64(int64(job.to.Position)), tracing.Generation.String(p.generation()),
	}})
}

// generation is the name of the generation whose snapshots are published, or "".
func (p *publisher) generation() string {
	if p.bucket == nil {
		return ""
	}
	return p.bucket.Generation()
}

func (p *publisher) do(ctx context.Context, job *publishJob) (err error) {
	if job.backlog == nil {
		job.count = len(job.holders) + len(job.entries)
		return p.publish(ctx, job.holders, job.entries, job.gone, job.to)
	}
	job.count, err = p.backfill(ctx, job.backlog, job.to)
	return err
}

func (p *publisher) publish(ctx context.Context, holders []projection.HolderRecord, entries []projection.Entry, gone []string, to projection.Reached) error {
	entries = slices.Grow(entries, len(holders)+len(gone))
	for i := range holders {
		value, err := p.encode(&holders[i])
		if err != nil {
			return err
		}
		entries = append(entries, projection.Entry{Key: ingest.SubjectToken(holders[i].Holder), Value: value})
	}
	for _, key := range gone {
		there, err := p.inStore(ctx, key)
		if err != nil {
			return err
		}
		if !there {
			entries = append(entries, projection.Entry{Key: key, Gone: true})
		}
	}
	return p.retry(ctx, "publish snapshots", func(ctx context.Context) error {
		return p.bucket.Publish(ctx, p.id, entries, to)
	})
}

// inStore reports whether the store has the holder of a key. It may have been stored, and
// have left the memory, since the walk that did not find it.
func (p *publisher) inStore(ctx context.Context, key string) (there bool, err error) {
	holder, err := ingest.HolderOf(key)
	if err != nil {
		return false, nil // the key of nobody
	}
	err = p.retry(ctx, "look for a holder", func(ctx context.Context) error {
		_, err := p.store.Holder(ctx, p.id, holder)
		if there = err == nil; errors.Is(err, projection.ErrNotFound) {
			err = nil
		}
		return err
	})
	return there, err
}

// wants reports whether there is something to publish, and nothing in flight.
func (p *publisher) wants() bool {
	switch {
	case p.bucket == nil || p.busy:
		return false
	case p.backlog != nil:
		// The backlog is read from the store, which must first reach the position that
		// the bucket may have. Until then changes are held back: the store may be behind.
		return p.flush.stored >= p.floor
	}
	return (p.mem.position != p.published || p.queue.len() > 0) && p.current()
}

// current reports whether the bucket and its readers have all from before the start, so
// that what changes may be published.
func (p *publisher) current() bool { return p.backlog == nil && p.mem.position >= p.floor }

// next is where the turn to publish comes from, nil where none is wanted.
//
// A partition that is far behind the log publishes no more often than it
// flushes: in a replay nearly every holder changes again before anybody could
// have read what was published of it.
func (p *publisher) next() <-chan struct{} {
	if p.refresh.ready() && !p.busy {
		return p.turn
	}
	if p.wantsTurn() {
		return p.turn
	}
	return nil
}

// wantsTurn reports whether there is something to publish that events changed.
func (p *publisher) wantsTurn() bool {
	if p.mem.farBehind() && p.published >= p.flush.encoded && p.queue.len() < publishMost {
		return false
	}
	return p.wants() && (!p.show.shows() || p.backlog != nil || p.show.roundMost(time.Now()) > 0)
}

// start hands what changed to the publisher, with the turn where it was taken.
func (p *publisher) start(ctx context.Context, turn bool) error {
	p.board.applying()
	if p.backlog != nil {
		p.published, p.publishedTime, p.busy = p.flush.stored, p.flush.storedTime, true // its length is the store's, so began says nothing
		p.jobs <- &publishJob{to: projection.Reached{Position: p.flush.stored, LogTime: p.flush.storedTime}, backlog: p.backlog, turn: turn}
		return nil
	}
	if p.refresh.ready() && turn && !(p.refreshed && p.wantsTurn()) {
		return p.publishRefreshed()
	}
	p.refreshed = false
	if err := p.mem.settle(ctx); err != nil {
		p.passTurn(turn)
		return err
	}
	job := &publishJob{turn: turn, behind: p.mem.pending >= publishLate}
	if err := p.fill(job); err != nil {
		p.passTurn(turn)
		return err
	}
	if job.to.Position < p.published { // what was published from the store lies between
		job.to = projection.Reached{Position: p.published, LogTime: p.publishedTime}
	}
	job.trail = p.waiting.Take(job.to.Position)
	p.published, p.publishedTime, p.busy, p.began = job.to.Position, job.to.LogTime, true, p.cfg.Now()
	p.jobs <- job // has room: one is in flight at most
	return nil
}

// fill takes the holders of a job out of the queue.
func (p *publisher) fill(job *publishJob) (err error) {
	most := p.cfg.turn
	if p.show.shows() {
		most = min(most, max(p.show.left, 1))
		p.show.entries = p.show.entries[:0]
	}
	n := min(p.queue.len(), most)
	if p.show.shows() {
		job.entries = make([]projection.Entry, 0, n)
	} else {
		job.holders = make([]projection.HolderRecord, 0, n)
	}
	job.to = p.queue.take(most, p.mem.reached(), func(h *holder) {
		if p.show.shows() {
			e, failed := p.show.take(h)
			job.entries, err = append(job.entries, e), cmp.Or(err, failed)
		} else {
			record := h.record()
			job.holders = append(job.holders, record)
			p.refresh.published(h.name, h.position, record.Figures.Line.Until)
			p.metrics.snapshot(h, &record)
		}
		p.mem.cache.removeHolder(h, p.mem.flushed)
	})
	if err = cmp.Or(p.lost, err); err != nil || !p.show.shows() {
		return err
	}
	p.show.flushEntries()
	p.show.took(len(job.entries))
	return nil
}

// publishRefreshed hands refreshed lines to the publisher, with the turn. They and
// what events changed alternate where both wait.
func (p *publisher) publishRefreshed() error {
	p.refreshed = true
	holders, gone, position := p.refresh.take(), p.takeGone(), p.refresh.position
	p.refresh.position = false
	if len(holders) == 0 && len(gone) == 0 && !position {
		p.passTurn(true)
		return nil
	}
	entries, holders, err := p.show.refreshed(holders)
	if err != nil {
		p.passTurn(true)
		return err
	}
	p.busy, p.began = true, p.cfg.Now()
	p.jobs <- &publishJob{holders: holders, entries: entries, gone: gone, to: projection.Reached{Position: p.published, LogTime: p.publishedTime}, turn: true}
	return nil
}

// takeGone takes out the keys to remove, without those of holders that came meanwhile.
func (p *publisher) takeGone() (gone []string) {
	for _, key := range p.refresh.gone {
		holder, err := ingest.HolderOf(key)
		if h := p.mem.cache.holders[holder]; err == nil && h != nil {
			p.changed(h, p.mem.reached()) // its snapshot comes once more
			continue
		}
		gone = append(gone, key)
	}
	p.refresh.gone = nil
	return gone
}

// startRefresh begins the refresh of lines that have ended, once the bucket has what
// a former owner left it to publish. ended: nothing more is applied. It returns where its result and its timer come
// from.
func (p *publisher) startRefresh(ended bool) (<-chan refreshDone, <-chan time.Time) {
	r := p.refresh
	if r == nil || p.backlog != nil || p.mem.position < p.floor || p.mem.position < p.mem.tail && !ended {
		return nil, nil
	}
	if !r.begun {
		r.begin(p.bucket, p.mem.position, p.flush.fresh)
	}
	if !p.busy || !p.refreshed { // else the bucket does not know yet what it is asked about
		r.start(p.mem.position, p.flush.stored, p.isLatest)
	}
	if r.waits || r.walking && p.flush.stored < r.from {
		p.flush.hasten()
	}
	return r.done, r.timer.C
}

// isLatest reports whether the latest snapshot of a holder is that of a position. A
// holder that is not in memory has no later events than the store knows.
func (p *publisher) isLatest(holder string, position uint64) bool {
	h := p.mem.cache.holders[holder]
	return h == nil || h.queued == 0 && h.position == position
}

// passTurn passes the turn on where it was taken. Without having been taken it
// must not be passed: its channel has room for those that there are.
func (p *publisher) passTurn(taken bool) {
	if taken {
		p.turn <- struct{}{}
	}
}

// finish notes that snapshots are acknowledged.
func (p *publisher) finish(d publishDone) error {
	p.busy, p.began = false, time.Time{}
	if d.err != nil {
		return d.err
	}
	if d.job.backlog != nil {
		p.backlog = nil
		p.show.from = max(p.show.from, d.job.to.Position)
	}
	p.show.rest(time.Now())
	p.board.set(func(s *PartitionStatus) { s.Published = d.job.to.Position })
	p.metrics.publish(d)
	return nil
}

// rest publishes what is left when the partition stops. It does not wait
// for its turn: the next owner waits for it.
func (p *publisher) rest(ctx context.Context) error {
	for p.busy || p.wants() {
		if !p.busy {
			if err := p.start(ctx, false); err != nil {
				return err
			}
		}
		if err := p.finish(<-p.done); err != nil {
			return err
		}
	}
	return nil
}
