package generation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdmetrics/hold/rules"
)

// ErrDropped: the generation that is waited for is being dropped.
var ErrDropped = errors.New("generation: is being dropped")

// Request is what a new generation is to be made of. Rules change figures only by a new
// generation, which counts the log by them (S8.2).
type Request struct {
	Name    string       // empty: the next number
	Rules   *rules.Rules // nil: those of the active generation
	Until   uint64       // last position of the log that is applied; 0: it goes on
	MaxRate uint64       // events a second over all workers while it is built; 0: no limit
}

// Request records a generation, which workers then build. If there is one of that name
// that was requested just so, it is returned, so that a command that was killed can be
// repeated. now is the caller's clock.
func (o *Operator) Request(ctx context.Context, q Request, now time.Time) (g Record, err error) {
	active, err := o.ActiveRecord(ctx)
	if err != nil {
		return g, err
	}
	last, err := o.Log.LastPosition(ctx)
	if err != nil {
		return g, err
	}
	g = Record{
		Name: q.Name, Rules: active.Rules, Version: active.Version, Policy: active.Policy,
		Until: q.Until, Goal: last, Created: now.UTC(), MaxRate: q.MaxRate,
	}
	if r := q.Rules; r != nil {
		g.Rules, g.Version, g.Policy = r.Text(), r.Version(), r.DefaultPolicy().String()
	}
	if g.Until != 0 {
		g.Goal = g.Until
	}
	if g.Name == "" {
		if g.Name, err = o.Registry.NextName(ctx); err != nil {
			return g, err
		}
	}
	err = o.Registry.Create(ctx, g)
	if !errors.Is(err, ErrExists) {
		return g, err
	}
	have, err := o.Get(ctx, g.Name)
	if err != nil {
		return g, err
	}
	if have.Version != g.Version || have.Policy != g.Policy || have.Until != g.Until || have.Dropped {
		return g, fmt.Errorf("there is a generation %s, which is another one (%s); choose another --name", g.Name, have.Describe())
	}
	return have, nil
}

// Build is how far a generation is with the events that it is to be built of.
type Build struct {
	Partitions       int    // that somebody works on
	Events, Rejected uint64 // so far
	Goal             uint64 // events and rejected ones at the end: an estimate until it is built; 0: not known
	Behind           bool   // a partition has not reached its goal
	LastError        string // what workers reported last; empty: nothing

	worst PartitionProgress // the partition with the most positions to go
	moved uint64            // a sum that changes whenever a partition moves
}

// Through is how many events the build has come through.
func (b *Build) Through() uint64 { return b.Events + b.Rejected }

// Share is the part of the events that the build has come through: 1 when it is built,
// and not before.
func (b *Build) Share() float64 {
	switch {
	case !b.Behind:
		return 1
	case b.Goal == 0:
		return 0
	}
	return min(float64(b.Through())/float64(b.Goal), 0.999)
}

// Percent is Share in hundredths.
func (b *Build) Percent() int { return int(100 * b.Share()) }

// Build sums up what the workers reported last. A partition that changes hands may be
// reported twice: the report that is further counts.
func (o *Operator) Build(ctx context.Context, r *Record) (b Build, err error) {
	all, err := o.Registry.Progress(ctx, r.Name)
	if err != nil {
		return b, err
	}
	best := map[int]PartitionProgress{}
	for _, w := range all {
		if w.LastError != "" {
			b.LastError = w.Worker + ": " + w.LastError
		}
		for _, p := range w.Partitions {
			if have, ok := best[p.Partition]; !ok || p.Events+p.Rejected > have.Events+have.Rejected || p.Position > have.Position {
				best[p.Partition] = p
			}
			if p.LastError != "" {
				b.LastError = fmt.Sprintf("%s, partition %d: %s", w.Worker, p.Partition, p.LastError)
			}
		}
	}
	b.Partitions = len(best)
	whole, err := o.events(ctx, r)
	if err != nil {
		return b, err
	}
	known := true
	for p := range o.Log.Partitions() {
		of, ok := best[p]
		through := of.Events + of.Rejected
		b.Events += of.Events
		b.Rejected += of.Rejected
		b.moved += of.Position + through
		if !ok {
			of.Partition, of.Goal = p, max(r.Goal, 1)
		}
		if !of.Built() && (b.worst.Built() || of.Goal-of.Position > b.worst.Goal-b.worst.Position) {
			b.worst = of
		}
		switch goal, known := whole[p]; {
		case ok && of.Built():
			b.Goal += through
			continue
		case known:
			b.Goal += max(goal, through+1)
		case ok && of.Position > 0:
			// A message has any number of events, so this is a guess.
			b.Goal += max(uint64(float64(through)*float64(of.Goal)/float64(of.Position)), through+1)
		default:
			known = false
		}
		b.Behind = true
	}
	if !known {
		b.Goal = 0
	}
	return b, nil
}

// events is how many events the partitions have up to the goal of a generation: as the
// active one counted them, or an estimate from that where it is further by now.
func (o *Operator) events(ctx context.Context, r *Record) (map[int]uint64, error) {
	if r.Built {
		return nil, nil
	}
	active, err := o.Registry.Active(ctx)
	if err != nil {
		return nil, err
	}
	all, err := o.Registry.Progress(ctx, active.Generation)
	if err != nil {
		return nil, err
	}
	out := map[int]uint64{}
	for _, w := range all {
		for _, p := range w.Partitions {
			n := p.Events + p.Rejected
			if p.Position > r.Goal {
				n = uint64(float64(n) * float64(r.Goal) / float64(p.Position))
			}
			out[p.Partition] = max(out[p.Partition], n)
		}
	}
	return out, nil
}

const (
	// nobodyAfter is how long nobody may work on a build before Notify is called.
	nobodyAfter = 20 * time.Second
	// buildLook is how often a build is looked at where nothing tells of a change.
	buildLook = time.Second
)

// AwaitBuilt waits until a generation is built, and calls show each time it has looked.
// It gives up with a [StalledError] when no partition has moved for stall, and with
// [ErrDropped] when the generation is dropped. The building itself goes on in any case.
func (o *Operator) AwaitBuilt(ctx context.Context, name string, stall time.Duration, show func(*Build)) (g Record, b Build, err error) {
	watching, stop := context.WithCancel(ctx)
	changed := o.Registry.WatchAll(watching)
	defer func() {
		stop()
		for range changed {
		}
	}()
	ticker := time.NewTicker(buildLook)
	defer ticker.Stop()
	lastError, nobody := o.notice(0), o.notice(nobodyAfter)
	moved, last := time.Now(), uint64(0)
	for {
		if g, err = o.Get(ctx, name); err == nil {
			b, err = o.Build(ctx, &g)
		}
		switch {
		case err != nil:
			return g, b, err
		case g.Dropped:
			return g, b, fmt.Errorf("%w: generation %s", ErrDropped, name)
		case g.Built:
			return g, b, nil
		case g.Paused:
			return g, b, fmt.Errorf("generation %s is paused, so it is not being built", name)
		}
		if b.Partitions == 0 {
			nobody.say(fmt.Sprintf("nobody works on generation %s yet; does serve, or a worker of this version, run, and does it reach its database?", name))
		}
		lastError.say(b.LastError)
		show(&b)
		if b.moved != last {
			moved, last = time.Now(), b.moved
		} else if quiet := time.Since(moved); quiet > stall {
			w := &b.worst
			return g, b, &StalledError{Generation: name, Partition: w.Partition, Wanted: w.Goal, Reached: w.Position, For: quiet, Heard: o.heard(ctx, name, w.Partition)}
		}
		select {
		case <-ctx.Done():
			return g, b, ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}
