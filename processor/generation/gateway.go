package generation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"holdmetrics/internal/backoff"
)

// Gateway answers reads from one generation, and can be moved to another one. A
// [Follower] calls its methods one at a time, but for Serving and Prepared, which it
// also calls while Prepare or Switch runs.
type Gateway interface {
	// Serving returns what the gateway answers from.
	Serving() Serving
	// Prepared returns the name of the generation that is loaded beside it, or "".
	Prepared() string
	// Prepare loads a generation beside the one that is served. It returns when the
	// generation has caught up with what readers have seen of the served one. A
	// generation that was prepared before is released first.
	Prepare(ctx context.Context, g *Record) error
	// Switch serves the prepared generation of that name from now on. After an error
	// nothing has changed.
	Switch(ctx context.Context, name string) error
	// Release closes what was prepared and not switched to.
	Release()
}

// Serving is what a gateway answers from.
type Serving struct {
	Generation string
	Rules      string // version of its rules
	Policy     string // default policy of its rules
}

const (
	// GatewayTTL is how long a gateway's entry in the registry lives, and gatewayBeat how
	// often it is written where nothing changes.
	GatewayTTL  = 15 * time.Second
	gatewayBeat = 5 * time.Second
	// gatewayRetry and gatewayRetryMax are the first and the longest pause before a
	// generation that could not be served is tried again.
	gatewayRetry    = 200 * time.Millisecond
	gatewayRetryMax = 5 * time.Second
	// gatewayRequest bounds one round of requests to the registry.
	gatewayRequest = 3 * time.Second
)

// Follower makes a gateway follow the registry: it serves the active generation, loads
// the one that is prepared, and reports its state. While the registry is away, or names
// a generation that cannot be served, the gateway keeps what it serves, and the follower
// tries again.
type Follower struct {
	cfg FollowerConfig

	job      *gatewayJob // nil: none runs
	lastErr  error       // of the last job
	pauses   backoff.Backoff
	reported GatewayState
	at       time.Time // of the last report
}

// FollowerConfig says what a [Follower] works with. All is required.
type FollowerConfig struct {
	ID       string // of the gateway, among all that ever were
	Registry *Registry
	Gateway  Gateway
	Logger   *zap.Logger
}

// gatewayAim is what the registry wants of a gateway.
type gatewayAim struct {
	generation string // to be loaded; empty: none beside the one that is served
	activate   bool   // and to be served
}

// gatewayJob is an aim that is worked on.
type gatewayJob struct {
	gatewayAim
	began  time.Time
	cancel context.CancelFunc
	done   chan error // has one
}

// NewFollower returns a follower that does nothing before Run.
func NewFollower(cfg FollowerConfig) *Follower {
	return &Follower{cfg: cfg, pauses: backoff.Backoff{First: gatewayRetry, Most: gatewayRetryMax}}
}

// Run follows the registry until ctx ends, then takes the gateway's entry out. It must
// be called once. Its error is always nil.
//
// It looks at the registry with each change there and every five seconds, so a change
// that it did not see delays it, and no more.
func (f *Follower) Run(ctx context.Context) error {
	changes := f.cfg.Registry.Watch(ctx)
	beat := time.NewTicker(gatewayBeat)
	defer beat.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		var done <-chan error
		if f.job != nil {
			done = f.job.done
		}
		select {
		case <-changes:
		case <-beat.C:
		case <-again.C:
		case err := <-done:
			f.finish(ctx, err)
			if err != nil {
				again.Reset(f.pauses.Next())
				f.report(ctx)
				continue
			}
		case <-ctx.Done():
			f.interrupt()
			f.leave(ctx)
			for range changes { // until the watch has ended
			}
			return nil
		}
		if aim, known := f.aim(ctx); known {
			f.pursue(ctx, aim)
		}
		f.report(ctx)
	}
}

// aim reads what is wanted. It reports false if the registry does not tell.
func (f *Follower) aim(ctx context.Context) (aim gatewayAim, known bool) {
	ctx, cancel := context.WithTimeout(ctx, gatewayRequest)
	defer cancel()
	active, err := f.cfg.Registry.Active(ctx)
	if errors.Is(err, ErrUnknown) {
		return aim, true // nobody has begun yet
	}
	var prepare Prepare
	if err == nil {
		prepare, err = f.cfg.Registry.Prepared(ctx)
	}
	if err != nil {
		f.cfg.Logger.Debug("cannot read the registry of generations; retrying", zap.Error(err))
		return aim, false
	}
	served := f.cfg.Gateway.Serving()
	if active.Generation != served.Generation {
		return gatewayAim{active.Generation, true}, true
	}
	// It may have been opened before there was a record of it, by no rules.
	record, err := f.cfg.Registry.Get(ctx, served.Generation)
	if err != nil {
		return aim, errors.Is(err, ErrUnknown)
	}
	if served.differs(&record) {
		return gatewayAim{served.Generation, true}, true
	}
	if prepare.Generation != served.Generation {
		aim.generation = prepare.Generation
	}
	return aim, true
}

// differs reports whether a gateway counts by other rules than the record names. All
// versions of no rules are the same, so the policy counts too.
func (s *Serving) differs(record *Record) bool {
	return record.Version != s.Rules || record.Policy != "" && record.Policy != s.Policy
}

// pursue starts a job for the aim, unless one runs, and ends any other.
func (f *Follower) pursue(ctx context.Context, aim gatewayAim) {
	if f.job != nil {
		if f.job.generation == aim.generation {
			return // whether it is also to be served is seen when it is loaded
		}
		f.interrupt()
	}
	if aim == (gatewayAim{generation: f.cfg.Gateway.Prepared()}) {
		f.lastErr = nil
		f.pauses.Reset()
		return
	}
	if aim.generation == "" {
		f.cfg.Gateway.Release()
		f.lastErr = nil
		f.pauses.Reset()
		return
	}
	working, cancel := context.WithCancel(ctx)
	job := &gatewayJob{aim, time.Now(), cancel, make(chan error, 1)}
	f.job = job
	go func() { job.done <- f.work(working, job.gatewayAim) }()
}

// work loads a generation, and switches to it if that is the aim.
func (f *Follower) work(ctx context.Context, aim gatewayAim) error {
	if f.cfg.Gateway.Prepared() != aim.generation {
		record, err := f.cfg.Registry.Get(ctx, aim.generation)
		switch {
		case err != nil:
			return err
		case record.Dropped:
			return fmt.Errorf("generation %s is being dropped", record.Name)
		case record.Until != 0:
			return fmt.Errorf("generation %s ends at position %d of the log, and what is served is further: no reader is moved back", record.Name, record.Until)
		}
		if err := f.cfg.Gateway.Prepare(ctx, &record); err != nil {
			return err
		}
		f.cfg.Logger.Info("generation loaded", zap.String("generation", aim.generation))
	}
	if !aim.activate {
		return nil
	}
	return f.cfg.Gateway.Switch(ctx, aim.generation)
}

// finish takes the end of the job.
func (f *Follower) finish(ctx context.Context, err error) {
	aim := f.job.gatewayAim
	f.job.cancel()
	f.job = nil
	if err == nil {
		f.lastErr = nil
		f.pauses.Reset()
		return
	}
	if ctx.Err() != nil {
		return
	}
	if f.lastErr == nil || f.lastErr.Error() != err.Error() {
		f.cfg.Logger.Warn("cannot serve the generation yet; keeping the current one", zap.String("generation", aim.generation), zap.Error(err))
	}
	f.lastErr = err
}

// interrupt ends the job and waits for it.
func (f *Follower) interrupt() {
	if f.job != nil {
		f.job.cancel()
		<-f.job.done
		f.job = nil
	}
}

// report writes the gateway's entry if it has changed or is about to expire.
func (f *Follower) report(ctx context.Context) {
	now := GatewayState{ID: f.cfg.ID, Active: f.cfg.Gateway.Serving().Generation, Prepared: f.cfg.Gateway.Prepared()}
	switch {
	case f.lastErr != nil:
		now.LastError = f.lastErr.Error()
	case f.job != nil && time.Since(f.job.began) > gatewayBeat:
		now.LastError = fmt.Sprintf("generation %s is being loaded, for %v so far", f.job.generation, time.Since(f.job.began).Round(time.Second))
	}
	if now == f.reported && time.Since(f.at) < gatewayBeat {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gatewayRequest)
	defer cancel()
	if err := f.cfg.Registry.PutGateway(ctx, now, GatewayTTL); err != nil {
		f.cfg.Logger.Debug("cannot report the gateway; retrying", zap.Error(err))
		return
	}
	f.reported, f.at = now, time.Now()
}

// leave takes the gateway's entry out of the registry.
func (f *Follower) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatewayRequest)
	defer cancel()
	if err := f.cfg.Registry.RemoveGateway(ctx, f.cfg.ID); err != nil {
		f.cfg.Logger.Debug("cannot take the gateway out of the registry; its entry expires", zap.Error(err))
	}
}
