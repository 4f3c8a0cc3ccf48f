package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"holdmetrics/gateway"
	"holdmetrics/hold"
	"holdmetrics/processor/generation"
)

const (
	// doorTTL is how long a door's word of itself holds, and doorBeat how often it is
	// given where nothing changes.
	doorTTL  = 15 * time.Second
	doorBeat = 5 * time.Second
	// doorRequest bounds one question to the registry.
	doorRequest = 3 * time.Second
)

// door has a gateway serve the generation that is active, load the one that is to
// come, and say in the registry how that goes. Where the registry is away, or says
// what cannot be done, the gateway goes on with what it serves, and the door tries
// again.
type door struct {
	id       string
	registry *generation.Registry
	gate     *gateway.Gateway
	open     openBackend
	log      *zap.Logger

	job     *doorJob // nil: none runs
	trouble error    // of the last one
	pause   time.Duration
	told    generation.Door
	toldAt  time.Time
}

// openBackend gives what a generation brings to a gateway; the error is why it
// cannot be opened, for now or for good.
type openBackend func(ctx context.Context, g *generation.Record) (gateway.Backend, error)

// doorAim is what the registry wants of a door.
type doorAim struct {
	generation string // to be loaded; empty: none beside the one that is served
	activate   bool   // and to be served
}

// doorJob is an aim that is worked on.
type doorJob struct {
	doorAim
	began  time.Time
	cancel context.CancelFunc
	done   chan error // has one
}

var notOfKeys = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// doorID names a gateway among others; of all that ever were.
func doorID() string {
	host, _ := os.Hostname()
	return notOfKeys.ReplaceAllString(host, "-") + "-" + uuid.NewString()[:8]
}

// start runs the door until stop is called, which waits for it.
func (d *door) start(ctx context.Context) (stop func() error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.run(running)
	}()
	return func() error {
		cancel()
		<-ended
		return nil
	}
}

func (d *door) run(ctx context.Context) {
	changes := d.registry.Watch(ctx)
	beat := time.NewTicker(doorBeat)
	defer beat.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		var done <-chan error
		if d.job != nil {
			done = d.job.done
		}
		select {
		case <-changes:
		case <-beat.C:
		case <-again.C:
		case err := <-done:
			d.finish(ctx, err)
			if err != nil {
				again.Reset(d.pause)
				d.tell(ctx)
				continue
			}
		case <-ctx.Done():
			d.interrupt()
			d.forget(ctx)
			for range changes { // until the watch has ended
			}
			return
		}
		if aim, known := d.aim(ctx); known {
			d.pursue(ctx, aim)
		}
		d.tell(ctx)
	}
}

// aim reads what is wanted; not known where the registry does not say.
func (d *door) aim(ctx context.Context) (aim doorAim, known bool) {
	ctx, cancel := context.WithTimeout(ctx, doorRequest)
	defer cancel()
	active, err := d.registry.Active(ctx)
	if errors.Is(err, generation.ErrUnknown) {
		return aim, true // nobody has begun yet
	}
	var prepare generation.Prepare
	if err == nil {
		prepare, err = d.registry.Prepared(ctx)
	}
	if err != nil {
		d.log.Debug("the generations cannot be read", zap.Error(err))
		return aim, false
	}
	served, rules := d.gate.Active()
	if active.Generation == served {
		// It may have been opened before there was a record of it, by no rules.
		record, err := d.registry.Get(ctx, served)
		if err != nil {
			return aim, errors.Is(err, generation.ErrUnknown)
		}
		if countsOtherwise(&record, rules, d.gate.DefaultPolicy()) {
			return doorAim{served, true}, true
		}
		if prepare.Generation != served {
			aim.generation = prepare.Generation
		}
		return aim, true
	}
	return doorAim{active.Generation, true}, true
}

// countsOtherwise says whether a generation does not count by rules of a version, or,
// as all versions of no rules are the same, by another policy.
func countsOtherwise(record *generation.Record, rules string, policy hold.Policy) bool {
	return record.Version != rules || record.Policy != "" && record.Policy != policy.String()
}

// pursue sees to it that the aim is worked on, and nothing else.
func (d *door) pursue(ctx context.Context, aim doorAim) {
	if d.job != nil {
		if d.job.generation == aim.generation {
			return // whether it is also to be served is seen when it is loaded
		}
		d.interrupt()
	}
	if aim == (doorAim{generation: d.gate.Prepared()}) {
		d.trouble, d.pause = nil, 0
		return
	}
	if aim.generation == "" {
		d.gate.Release()
		d.trouble, d.pause = nil, 0
		return
	}
	working, cancel := context.WithCancel(ctx)
	job := &doorJob{aim, time.Now(), cancel, make(chan error, 1)}
	d.job = job
	go func() { job.done <- d.work(working, job.doorAim) }()
}

// work loads a generation, and makes it the one that is served where that is the aim.
func (d *door) work(ctx context.Context, aim doorAim) error {
	if d.gate.Prepared() != aim.generation {
		record, err := d.registry.Get(ctx, aim.generation)
		switch {
		case err != nil:
			return err
		case record.Dropped:
			return fmt.Errorf("generation %s is being dropped", record.Name)
		case record.Until != 0:
			return fmt.Errorf("generation %s ends at position %d of the log, and what is served is further: no reader is moved back", record.Name, record.Until)
		}
		b, err := d.open(ctx, &record)
		if err != nil {
			return err
		}
		if err := d.gate.Prepare(ctx, b); err != nil {
			return err
		}
		d.log.Info("a generation is loaded", zap.String("generation", aim.generation))
	}
	if !aim.activate {
		return nil
	}
	return d.gate.Switch(ctx, aim.generation)
}

// finish takes the end of the job.
func (d *door) finish(ctx context.Context, err error) {
	aim := d.job.doorAim
	d.job.cancel()
	d.job = nil
	if err == nil {
		d.trouble, d.pause = nil, 0
		return
	}
	if ctx.Err() != nil {
		return
	}
	if d.trouble == nil || d.trouble.Error() != err.Error() {
		d.log.Warn("a generation cannot be served yet; the one before goes on", zap.String("generation", aim.generation), zap.Error(err))
	}
	d.trouble = err
	d.pause = min(max(2*d.pause, againFirst), againMost)
}

// interrupt ends the job and waits for it.
func (d *door) interrupt() {
	if d.job != nil {
		d.job.cancel()
		<-d.job.done
		d.job = nil
	}
}

// tell says in the registry how the gateway does, where that is news or the last
// word is about to run out.
func (d *door) tell(ctx context.Context) {
	now := generation.Door{ID: d.id, Prepared: d.gate.Prepared()}
	now.Active, _ = d.gate.Active()
	switch {
	case d.trouble != nil:
		now.Trouble = d.trouble.Error()
	case d.job != nil && time.Since(d.job.began) > doorBeat:
		now.Trouble = fmt.Sprintf("generation %s is being loaded, for %v so far", d.job.generation, time.Since(d.job.began).Round(time.Second))
	}
	if now == d.told && time.Since(d.toldAt) < doorBeat {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doorRequest)
	defer cancel()
	if err := d.registry.PutDoor(ctx, now, doorTTL); err != nil {
		d.log.Debug("the door could not be reported", zap.Error(err))
		return
	}
	d.told, d.toldAt = now, time.Now()
}

// forget takes the door out of the registry.
func (d *door) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doorRequest)
	defer cancel()
	if err := d.registry.RemoveDoor(ctx, d.id); err != nil {
		d.log.Debug("the door could not be taken out; it runs out", zap.Error(err))
	}
}
