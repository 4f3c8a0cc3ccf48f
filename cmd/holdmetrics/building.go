package main

import (
	"context"
	"fmt"

	"holdmetrics/processor/generation"
)

// building is how far a generation is with what it is to be built of.
type building struct {
	partitions       int    // that somebody works on
	events, rejected uint64 // so far
	goal             uint64 // events and what is rejected, at the end: an estimate until it is built; 0: not known
	behind           bool   // a partition has not reached its goal
	trouble          string
}

// through is how many events it has come through.
func (b *building) through() uint64 { return b.events + b.rejected }

// share is which part of the events it has come through: 1 when it is built, and not before.
func (b *building) share() float64 {
	switch {
	case !b.behind:
		return 1
	case b.goal == 0:
		return 0
	}
	return min(float64(b.through())/float64(b.goal), 0.999)
}

func (b *building) percent() int { return int(100 * b.share()) }

// built sums up what the workers said last. A partition that changes hands may be
// told of twice: the one that is further counts.
func (o *operator) built(ctx context.Context, r *generation.Record) (b building, err error) {
	all, err := o.records.Progress(ctx, r.Name)
	if err != nil {
		return b, err
	}
	best := map[int]generation.PartitionProgress{}
	for _, w := range all {
		if w.Trouble != "" {
			b.trouble = w.Worker + ": " + w.Trouble
		}
		for _, p := range w.Partitions {
			if have, ok := best[p.Partition]; !ok || p.Events+p.Rejected > have.Events+have.Rejected || p.Position > have.Position {
				best[p.Partition] = p
			}
			if p.Trouble != "" {
				b.trouble = fmt.Sprintf("%s, partition %d: %s", w.Worker, p.Partition, p.Trouble)
			}
		}
	}
	b.partitions = len(best)
	whole, err := o.events(ctx, r)
	if err != nil {
		return b, err
	}
	known := true
	for p := range o.log.Partitions() {
		of, ok := best[p]
		through := of.Events + of.Rejected
		b.events += of.Events
		b.rejected += of.Rejected
		switch goal, told := whole[p]; {
		case ok && of.Built():
			b.goal += through
			continue
		case told:
			b.goal += max(goal, through+1)
		case ok && of.Position > 0:
			// A message has any number of events, so this is a guess.
			b.goal += max(uint64(float64(through)*float64(of.Goal)/float64(of.Position)), through+1)
		default:
			known = false
		}
		b.behind = true
	}
	if !known {
		b.goal = 0
	}
	return b, nil
}

// events is how many events the partitions have up to the goal of a generation, as the
// active one counted them, or an estimate from that where it is further by now.
func (o *operator) events(ctx context.Context, r *generation.Record) (map[int]uint64, error) {
	if r.Built {
		return nil, nil
	}
	active, err := o.records.Active(ctx)
	if err != nil {
		return nil, err
	}
	all, err := o.records.Progress(ctx, active.Generation)
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
