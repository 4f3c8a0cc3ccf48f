package processor

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// The walk over the store's holders compares the snapshot of each with what the store
// has: a bucket may lose messages, or get some that nobody of ours wrote, and nothing
// else would notice. What differs is drawn from the store and published again. The
// partition is not ready before the first walk is over; later ones are repeated with
// pauses, which are much longer than the walks. A partition whose store was empty at its
// start has just published every snapshot, so its first walk compares none: a rebuild
// would read all of its bucket while the other partitions are still replayed.

const (
	// auditEvery is the least pause between two walks.
	auditEvery = 30 * time.Second
	// auditShare is how many times longer than a walk the pause after it is.
	auditShare = 50
	// auditSoonShare is the same of a walk that is wanted.
	auditSoonShare = 5
)

// audits is what a refresher knows of its walks.
type audits struct {
	every time.Duration // least pause
	once  bool          // the first walk is over
	of    audited       // the last walk, or the one under way
	next  time.Time     // of the next walk; zero: none is due
	soon  time.Time     // of the next walk, if one is wanted
	took  time.Duration // by the walk so far

	published bool // what the first walk found is in the bucket
}

// step notes a step of a walk. over: it was the last one.
func (a *audits) step(d refreshDone, over bool) {
	a.took += d.took
	if over {
		now := time.Now()
		a.once, a.next, a.soon = true, now.Add(max(a.every, auditShare*a.took)), now.Add(auditSoonShare*a.took)
		a.took = 0
	}
}

// due reports whether it is time for another walk.
func (a *audits) due(now time.Time, wanted *atomic.Bool, current audited) bool {
	if !a.once {
		return false
	}
	return !now.Before(a.next) || a.of != current || !now.Before(a.soon) && wanted.CompareAndSwap(true, false)
}

// audited is what a walk compares with the store.
type audited struct {
	with     *shown // nil: no reader's snapshots
	renewals uint64 // of the bucket
	rechecks uint64
}

// current is what a walk that begins now compares.
func (r *refresher) current() audited {
	return audited{r.shown.Load(), r.bucket.Renewals(), r.recheck.Load()}
}

// errRenewed says that the bucket was emptied, so that all of it is to be published again.
var errRenewed = errors.New("the bucket has lost snapshots, and was emptied: all of them are published again")

// Shown are the snapshots that readers in this process see; *projection.View is one.
type Shown interface {
	Wait(ctx context.Context) error // until they are read for the first time
	Lookup(key string) (projection.Change, bool)
	Each(fn func(projection.Change) bool)
	Closed() bool
	// Position is the position up to which they have all of a partition.
	Position(partition int) uint64
}

type shown struct{ Shown }

// toAudit is what the partitions compare with the store, or will soon.
func (w *Worker) toAudit() (of audited) {
	if w.bucket != nil {
		of = audited{w.shown.Load(), w.bucket.Renewals(), w.recheck.Load()}
	}
	return of
}

// Recheck has all snapshots compared with the store again, after something may have
// happened to the bucket. Until that is over the worker is not ready.
func (w *Worker) Recheck() {
	w.recheck.Add(1)
	w.Audit()
}

// SetShown has the snapshots that readers see compared with the store as well, from now
// on. The partitions are not ready before that was done once.
func (w *Worker) SetShown(s Shown) {
	w.shown.Store(&shown{s})
	w.Audit()
}

// audited reports whether the bucket has, after the first walk, all that the store has.
func (p *publisher) audited() bool {
	r := p.refresh
	switch {
	case r == nil:
		return true
	case !(p.busy && p.refreshed):
		r.trusted()
	}
	switch {
	case !r.begun || r.audits.of != r.current() || p.board.suspects.some.Load():
		return false
	case r.audits.published:
		return true
	}
	r.audits.published = r.audits.once && !r.walking && !r.busy && len(r.over) == 0 && !r.toPublish() && !(p.busy && p.refreshed)
	return r.audits.published
}

// noteReplaced counts what a walk found, and logs it.
func (p *publisher) noteReplaced(d *refreshDone) {
	if n := len(d.differ); n > 0 && d.err == nil {
		p.metrics.replaced.Add(float64(n))
		p.logger.Warn("snapshots differ from what the store has; they are published again",
			zap.Int("snapshots", n), zap.String("example", d.differ[0].holder))
	}
	if n := len(d.unknown); n > 0 && d.err == nil {
		p.metrics.replaced.Add(float64(n))
		p.logger.Warn("somebody else has written snapshots of holders that the store does not have; they are removed",
			zap.Int("snapshots", n), zap.String("example", d.unknown[0]))
	}
}

// suspectsMost bounds how many keys a partition compares by themselves; with more, it
// walks over all.
const suspectsMost = 4096

// suspects are keys of a partition's snapshots that somebody else wrote. It is safe for
// concurrent use.
type suspects struct {
	mu   sync.Mutex
	keys map[string]struct{}
	some atomic.Bool // some wait, or are being compared or replaced
}

// add adds a key, and reports whether there was room.
func (s *suspects) add(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) >= suspectsMost {
		return false
	}
	if s.keys == nil {
		s.keys = map[string]struct{}{}
	}
	s.keys[key] = struct{}{}
	s.some.Store(true)
	return true
}

// take takes some of the keys out.
func (s *suspects) take(most int) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if len(keys) == most {
			break
		}
		keys = append(keys, key)
		delete(s.keys, key)
	}
	return keys
}

// waiting reports whether keys wait.
func (s *suspects) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys) > 0
}

// suspect has the snapshot of a key compared at once, which somebody else wrote; all, if
// key is empty. A position is published again.
func (w *Worker) suspect(key string) {
	if key == "" {
		w.Recheck()
		return
	}
	partition, isPosition := projection.PartitionOfKey(key)
	if !isPosition {
		holder, err := ingest.HolderOf(key)
		if err != nil {
			holder = key // that of nobody; any partition can remove it
		}
		partition = ingest.Partition(holder, w.log.Partitions())
	}
	p, err := w.at(partition)
	if err != nil {
		return
	}
	if !p.board.suspects.add(key) {
		p.board.auditWanted.Store(true)
	}
	p.board.rouse()
}

// compare compares the snapshots of keys that somebody else wrote. The store has all that
// was applied when they were taken.
func (r *refresher) compare(ctx context.Context, d *refreshDone) error {
	var known []projection.HolderRecord
	for _, key := range d.job.keys {
		if _, ok := projection.PartitionOfKey(key); ok {
			d.position = true
			continue
		}
		name, err := ingest.HolderOf(key)
		if err != nil {
			d.unknown = append(d.unknown, key)
			continue
		}
		h, err := r.store.Holder(ctx, r.partition, name)
		if errors.Is(err, projection.ErrNotFound) {
			d.unknown = append(d.unknown, key)
			continue
		}
		if err != nil {
			return err
		}
		h.Holder = name
		known = append(known, *h)
	}
	fits, err := r.audit(ctx, known, d.job.with)
	if err != nil {
		return err
	}
	for i := range known {
		if h := &known[i]; !fits[i] {
			d.differ = append(d.differ, &lineEnd{holder: h.Holder, position: h.Position, until: 1, differs: true})
		}
	}
	return nil
}

// extra returns the keys of snapshots that readers see, and of whose holders the store has
// none. count is how many holders of the partition the store has, without those whose
// snapshots the owner itself has shown. Holders that came since may be among them.
func (r *refresher) extra(ctx context.Context, with *shown, count int) (keys []string, err error) {
	if with == nil || with.Closed() {
		return nil, nil
	}
	if err := with.Wait(ctx); err != nil {
		if errors.Is(err, projection.ErrClosed) {
			err = nil // nobody reads it any more
		}
		return nil, err
	}
	mine := func(fn func(key string) bool) {
		with.Each(func(c projection.Change) bool {
			return c.Shown || ingest.PartitionOfToken(c.Key, r.partitions) != r.partition || fn(c.Key)
		})
	}
	seen := 0
	mine(func(string) bool { seen++; return true })
	if seen <= count {
		return nil, nil
	}
	mine(func(key string) bool {
		name, decoded := ingest.HolderOf(key)
		if decoded == nil {
			_, err = r.store.Holder(ctx, r.partition, name)
		}
		if decoded != nil || errors.Is(err, projection.ErrNotFound) {
			keys, err = append(keys, strings.Clone(key)), nil
		}
		return err == nil
	})
	return keys, err
}

// unshown is how many of some holders have snapshots that readers have from the bucket, or
// none, since the owner has shown none of them in this process.
func unshown(holders []projection.HolderRecord, with *shown) (n int) {
	if with == nil {
		return len(holders)
	}
	for i := range holders {
		if c, _ := with.Lookup(ingest.SubjectToken(holders[i].Holder)); !c.Shown {
			n++
		}
	}
	return n
}

// Audit has all snapshots compared with the store soon, and what differs published again.
func (w *Worker) Audit() {
	for _, p := range w.running() {
		p.board.auditWanted.Store(true)
		p.board.rouse()
	}
}

// wait is the time until the next walk.
func (a *audits) wait(now time.Time) time.Duration {
	if a.next.IsZero() {
		return refreshLook
	}
	// Another partition may find meanwhile that the bucket must be emptied.
	return min(a.next.Sub(now), refreshLook)
}

// shownFits reports whether readers see a snapshot that can be right: it may be an
// older one for a moment, until they have the position reached.
func shownFits(h *projection.HolderRecord, value []byte, reached, applied uint64) bool {
	if s, err := projection.ReadSnapshot(value); value != nil && err == nil && s.Position < h.Position && h.Position > reached {
		return true
	}
	return snapshotFits(h, value, applied)
}

// audit reports of each holder whether its snapshot fits what the store has of it. The
// store may be ahead of what is published: such a holder fits, and the next walk looks at it.
func (r *refresher) audit(ctx context.Context, holders []projection.HolderRecord, with *shown) ([]bool, error) {
	if len(holders) == 0 {
		return nil, nil
	}
	acked, reached := r.acked(), uint64(0) // before the snapshots are read, which are at least as new
	if with != nil {
		reached = with.Position(r.partition)
	}
	keys := make([]string, len(holders))
	for i := range holders {
		keys[i] = ingest.SubjectToken(holders[i].Holder)
	}
	values, err := r.bucket.Values(ctx, keys)
	if err != nil {
		return nil, err
	}
	missing := false
	for i := range values {
		missing = missing || values[i] == nil && holders[i].Position <= acked
	}
	if missing {
		// All walks begin again if this empties the bucket.
		if renewed, err := r.bucket.Renew(ctx); err != nil || renewed {
			return nil, errors.Join(err, errRenewed)
		}
	}
	seen := make([][]byte, len(keys))
	if with != nil && with.Closed() {
		with = nil
	}
	if with != nil {
		switch err := with.Wait(ctx); {
		case errors.Is(err, projection.ErrClosed):
			with = nil // nobody reads it any more
		case err != nil:
			return nil, err
		default:
			for i, key := range keys {
				c, _ := with.Lookup(key)
				seen[i] = c.Value
			}
			if with.Closed() { // meanwhile: what it has may be old
				with = nil
			}
		}
	}
	applied := r.applied() // after the snapshots were read: none of them is ahead of it
	fits := make([]bool, len(holders))
	for i := range holders {
		fits[i] = holders[i].Position > acked || snapshotFits(&holders[i], values[i], applied) &&
			(with == nil || bytes.Equal(seen[i], values[i]) || shownFits(&holders[i], seen[i], reached, applied))
	}
	return fits, nil
}

// snapshotFits reports whether a snapshot can be the latest one of a holder of which the
// store has h. A partition that is applied up to a position has published none of a
// later one. The line of a snapshot may be a later piece than the store has.
func snapshotFits(h *projection.HolderRecord, value []byte, applied uint64) bool {
	if value == nil {
		return false
	}
	s, err := projection.ReadSnapshot(value)
	if err != nil || string(s.Holder) != h.Holder {
		return false
	}
	if s.Position != h.Position {
		return s.Position > h.Position && s.Position <= applied
	}
	f := &h.Figures
	if s.Settled != f.Settled || s.UpdatedAt != h.UpdatedAt {
		return false
	}
	return s.Line.Since != f.Line.Since || s.Line.Base == f.Line.Base && s.Line.Rate == f.Line.Rate && s.Line.HeldRate == f.Line.HeldRate
}
