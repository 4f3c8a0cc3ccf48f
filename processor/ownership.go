package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// Ownership says how a worker shares the partitions with others.
type Ownership struct {
	// Lease is this worker's part in it. Its Report is the worker's own.
	Lease lease.Config
	// JetStream is where the leases are; nil: where the log is.
	JetStream jetstream.JetStream
}

const (
	// leaveWithin bounds the good-bye to the other workers, who find out anyway.
	leaveWithin = time.Second
	// claimWithin bounds one try to claim a partition.
	claimWithin = 5 * time.Second
	// stuckAfter is how long a partition may be at one thing before its report says
	// that it does not move.
	stuckAfter = 10 * time.Second
	// againAfter is how long a worker leaves a partition alone that it could not
	// claim, or lost to nobody.
	againAfter = 500 * time.Millisecond
)

// leaseTerm is one partition's time with this worker, from its claim to its release.
//
//	claiming ──▶ running ──▶ giving ──▶ ended
//	    │           │  lost, fenced        ▲
//	    └───────────┴──────────────────────┘
type leaseTerm struct {
	partition int
	stop      context.CancelFunc // flush, publish and release
	giving    bool
	until     time.Time // zero: it goes on; else it is over, and the partition is left alone until then
}

// owner runs the partitions that fall to a worker. Its fields belong to the
// goroutine of run.
type owner struct {
	w       *Worker
	member  *lease.Member
	holding map[int]*leaseTerm
	over    map[int]uint64 // revision of the last lease of a partition that was given up
	ended   chan ending
}

// ending is how a leaseTerm ended.
type ending struct {
	partition int
	revision  uint64 // of the lease, as last renewed; 0: there was none
	pause     bool   // the partition is to be left alone for a moment
	err       error  // of the last flush, when the worker was stopped
}

// runOwned is Run for a worker that is one of several.
func (w *Worker) runOwned(ctx context.Context) error {
	member, err := w.join(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	w.mu.Lock()
	w.member = member
	w.mu.Unlock()
	o := &owner{w: w, member: member, holding: map[int]*leaseTerm{}, over: map[int]uint64{}, ended: make(chan ending)}
	err = o.run(ctx)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if left := member.Close(leaving); left != nil {
		w.cfg.Logger.Warn("the other workers find out later that this one is gone", zap.Error(left))
	}
	return err
}

// join makes the worker known to the others, and waits for them to be known.
func (w *Worker) join(ctx context.Context) (m *lease.Member, err error) {
	cfg, js := w.cfg.Ownership.Lease, w.cfg.Ownership.JetStream
	if js == nil {
		js = w.cfg.Log.JetStream()
	}
	cfg.Report = w.report
	if cfg.Logger == nil {
		cfg.Logger = w.cfg.Logger
	}
	err = retry(ctx, w.cfg.Logger, w.outages, "join the other workers", func(ctx context.Context) (err error) {
		m, err = lease.Join(ctx, js, cfg)
		return w.tried("join the other workers", err)
	})
	return m, err
}

// run takes what falls to this worker and gives away what falls to others, until
// ctx ends; then it gives away everything.
func (o *owner) run(ctx context.Context) error {
	background := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		changed := o.member.View().Changed() // before looking
		o.look(background)
		select {
		case <-changed:
		case e := <-o.ended:
			o.end(e)
		case <-o.again():
		case <-ctx.Done():
		}
		now := time.Now()
		for id, t := range o.holding {
			if !t.until.IsZero() && !now.Before(t.until) {
				delete(o.holding, id)
			}
		}
	}
	leaving, cancel := context.WithTimeout(background, leaveWithin)
	defer cancel()
	if err := o.member.Leave(leaving); err != nil {
		o.w.cfg.Logger.Warn("the other workers find out later that this one leaves", zap.Error(err))
	}
	var errs []error
	for id, t := range o.holding {
		if !t.until.IsZero() {
			delete(o.holding, id)
			continue
		}
		t.give()
	}
	for len(o.holding) > 0 {
		e := <-o.ended
		errs = append(errs, e.err)
		delete(o.holding, e.partition)
	}
	return errors.Join(errs...)
}

// look compares what this worker owns with what it should.
func (o *owner) look(background context.Context) {
	target := o.member.Target(o.w.log.Partitions())
	for id, t := range o.holding {
		if !target[id] {
			t.give()
		}
	}
	owners := o.member.View().Owners()
	for id, owner := range owners {
		if o.member.Mine(owner) && owner.Revision > o.over[id] {
			target[id] = true // to give it away: a claim stands whose answer was lost
		}
	}
	for id := range target {
		if _, have := o.holding[id]; have {
			continue
		}
		if owner, taken := owners[id]; taken && owner.Worker != o.member.ID() {
			continue // who has it gives it away, or dies
		}
		t := &leaseTerm{partition: id}
		var ctx context.Context
		ctx, t.stop = context.WithCancel(background)
		o.holding[id] = t
		go func() {
			o.ended <- o.hold(ctx, background, id)
		}()
	}
}

// give has the leaseTerm end soon.
func (t *leaseTerm) give() {
	if !t.giving && t.until.IsZero() {
		t.giving = true
		t.stop()
	}
}

// end notes that a leaseTerm is over.
func (o *owner) end(e ending) {
	t := o.holding[e.partition]
	t.stop()
	o.over[e.partition] = max(o.over[e.partition], e.revision)
	if !e.pause || t.giving {
		delete(o.holding, e.partition)
		return
	}
	t.until = time.Now().Add(againAfter)
}

// again is when the first partition need not be left alone any more; nil: none is.
func (o *owner) again() <-chan time.Time {
	var first time.Time
	for _, t := range o.holding {
		if !t.until.IsZero() && (first.IsZero() || t.until.Before(first)) {
			first = t.until
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// hold claims a partition and runs it until ctx ends, the lease is lost, or the
// partition fails; a partition that failed stays with its owner, since it would
// fail at every other, until the lease ends. It returns when nothing of the
// partition runs here and others may have it.
func (o *owner) hold(ctx, background context.Context, id int) ending {
	w := o.w
	// Not ctx: a claim that is given up halfway may stand all the same.
	claiming, cancel := context.WithTimeout(background, claimWithin)
	l, err := o.member.Claim(claiming, id)
	cancel()
	if err != nil {
		if !errors.Is(err, lease.ErrTaken) && ctx.Err() == nil {
			w.cfg.Logger.Warn("a partition could not be claimed; it is tried again", zap.Int("partition", id), zap.Error(err))
		}
		return ending{partition: id, pause: true}
	}
	release := func() {
		// After that the lease has run out, and the others need no word.
		releasing, cancel := context.WithTimeout(background, min(o.member.LeaseTime(), w.cfg.StopTimeout))
		defer cancel()
		if err := l.Release(releasing); err != nil {
			w.cfg.Logger.Warn("a partition is free only when its lease has run out", zap.Int("partition", id), zap.Error(err))
		}
	}
	if ctx.Err() != nil {
		release()
		return ending{partition: id, revision: l.Last()}
	}
	w.metrics.leases[leaseAcquired].Inc()
	p := w.add(id, l)
	o.member.Touch()
	err = o.work(ctx, background, p, l)
	w.finish(p, err)
	p.logger.Info("partition given up", zap.Uint64("epoch", p.epoch), zap.Bool("asked", ctx.Err() != nil))
	lost := l.Err() != nil || errors.Is(err, lease.ErrLost) || errors.Is(err, projection.ErrFenced)
	switch {
	case lost:
		w.metrics.leases[leaseLost].Inc()
		p.logger.Warn("the partition is another worker's now", zap.Error(err))
		err = nil // the next owner applies it again
	case err != nil && ctx.Err() == nil:
		p.logger.Error("partition failed", zap.Error(err))
		o.member.Touch()
		select {
		case <-ctx.Done():
		case <-l.Lost():
		}
		err = nil // said
	}
	w.remove(p)
	if !lost {
		w.metrics.leases[leaseReleased].Inc()
	}
	release()
	o.member.Touch()
	return ending{partition: id, revision: l.Last(), pause: lost, err: err}
}

// work runs a partition. Where the lease is lost everything is dropped at once:
// what was not flushed is in the log.
func (o *owner) work(ctx, background context.Context, p *partition, l *lease.Lease) error {
	running, stop := context.WithCancel(ctx)
	writing, drop := context.WithCancel(background)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-l.Lost():
		case <-ended:
			return
		case <-ctx.Done():
			timer := time.NewTimer(o.w.cfg.StopTimeout)
			defer timer.Stop()
			select {
			case <-l.Lost():
			case <-timer.C:
			case <-ended:
			}
		}
		drop()
		stop()
	}()
	err := p.run(running, writing)
	close(ended)
	<-watched
	drop()
	stop()
	return err
}

// heard says what keeps the worker from taking part.
func (w *Worker) heard() error {
	w.mu.Lock()
	member := w.member
	w.mu.Unlock()
	if member == nil {
		return fmt.Errorf("%w: the worker has not joined the others yet", ErrStopped)
	}
	if err := member.Err(); err != nil {
		return fmt.Errorf("the other workers do not hear this one: %w", err)
	}
	return nil
}

// Report is what a worker says of itself in the lease bucket.
type Report struct {
	Partitions []PartitionReport `json:"partitions"`
}

// PartitionReport is a [PartitionStatus] as the owner reports it.
type PartitionReport struct {
	Partition  int    `json:"partition"`
	State      string `json:"state"`
	Epoch      uint64 `json:"epoch"`
	Position   uint64 `json:"position"`
	Checkpoint uint64 `json:"checkpoint"`
	Published  uint64 `json:"published"`
	Pending    uint64 `json:"pending"`
	Ahead      Ahead  `json:"ahead"`
	LogTime    int64  `json:"log_time"`
	Events     uint64 `json:"events"`
	Rejected   uint64 `json:"rejected"`
	Excluded   uint64 `json:"excluded,omitempty"` // events of holders whom the rules exclude, since the worker took the partition
	LastError  string `json:"trouble,omitempty"`  // why it does not move, or what is tried again
	Stuck      bool   `json:"stuck,omitempty"`    // failed, or at one thing for longer than it should
}

// ReportOf is the report of a partition.
func ReportOf(s *PartitionStatus, now time.Time) PartitionReport {
	r := PartitionReport{
		Partition: s.Partition, State: s.State.String(), Epoch: s.Epoch, Position: s.Position,
		Checkpoint: s.Checkpoint, Published: s.Published, Pending: s.Pending, Ahead: s.Ahead, LogTime: s.LogTime,
		Events: s.Events, Rejected: s.Rejected, Excluded: s.Excluded,
	}
	stuck := s.Stuck(now, stuckAfter)
	switch {
	case s.Err != nil:
		r.LastError = s.Err.Error()
	case stuck != nil:
		r.LastError = stuck.Error()
	case s.LastError != nil:
		r.LastError = s.LastError.Error()
	}
	r.Stuck = s.State == Failed || stuck != nil
	return r
}

// Report is what the worker says of itself.
func (w *Worker) Report() Report {
	r := Report{Partitions: []PartitionReport{}}
	now := w.cfg.Now()
	for _, s := range w.Status() {
		r.Partitions = append(r.Partitions, ReportOf(&s, now))
	}
	return r
}

// ReadReport reads a report as it stands in the lease bucket, by partition. What
// cannot be read, such as that of a later version, says nothing.
func ReadReport(text json.RawMessage) map[int]PartitionReport {
	var r Report
	if json.Unmarshal(text, &r) != nil {
		return nil
	}
	out := make(map[int]PartitionReport, len(r.Partitions))
	for _, p := range r.Partitions {
		out[p.Partition] = p
	}
	return out
}

func (w *Worker) report() json.RawMessage {
	text, err := json.Marshal(w.Report())
	if err != nil {
		return nil
	}
	return text
}
