// Package fakes has stand-ins for what a gateway reads and writes: the log, a producer
// and snapshots.
package fakes

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// Log is a log of which only the ends are of interest.
type Log struct {
	Size int
	Ends map[int]uint64
	Err  error
}

// Partitions returns Size.
func (l *Log) Partitions() int { return l.Size }

// End returns the end of a partition, and Err.
func (l *Log) End(_ context.Context, p int) (uint64, error) {
	return l.Ends[p], l.Err
}

// LastPosition returns the greatest end of all partitions, and Err.
func (l *Log) LastPosition(context.Context) (last uint64, err error) {
	for _, end := range l.Ends {
		last = max(last, end)
	}
	return last, l.Err
}

// Behind returns nothing.
func (l *Log) Behind(context.Context, int, uint64) (ingest.Behind, error) {
	return ingest.Behind{}, nil
}

// Importing returns nil.
func (l *Log) Importing(context.Context) error { return nil }

// Horizon returns 0: the log is not sealed.
func (l *Log) Horizon() int64 { return 0 }

// Producer checks events as the real one does; its fields set what happens then.
type Producer struct {
	Err  error
	Full bool // no quota: Record waits for the end of its context
	// FailFrom is the first event that meets err; 0: all do.
	FailFrom uint64
	OnTake   func()       // after each event
	Hold     func(func()) // runs or keeps completions; nil: they run at once
	mu       sync.Mutex
	Took     uint64
}

func (p *Producer) take(d *hold.Draft) (uint64, error) {
	if _, err := d.Check(TestNow, hold.DefaultLimits()); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Took++
	if p.OnTake != nil {
		defer p.OnTake()
	}
	if p.Took < p.FailFrom {
		return p.Took, nil
	}
	return p.Took, p.Err
}

// Record takes an event, or waits for the end of ctx if the producer is Full.
func (p *Producer) Record(ctx context.Context, d *hold.Draft) (uint64, error) {
	if p.Full {
		<-ctx.Done()
		return 0, fmt.Errorf("%w: %w", ingest.ErrBusy, context.Cause(ctx))
	}
	return p.take(d)
}

// Send takes an event and reports its position to done.
func (p *Producer) Send(_ context.Context, d *hold.Draft, done func(uint64, error)) error {
	position, err := p.take(d)
	if err != nil {
		return err
	}
	if p.Hold != nil {
		p.Hold(func() { done(position, nil) })
		return nil
	}
	done(position, nil)
	return nil
}

// SendBatch takes events and reports the result to done.
func (p *Producer) SendBatch(_ context.Context, drafts []hold.Draft, done func(ingest.BatchResult)) {
	var r ingest.BatchResult
	for i := range drafts {
		position, err := p.take(&drafts[i])
		if err != nil {
			r.Refused = append(r.Refused, ingest.Refusal{Index: i, Err: err})
			continue
		}
		r.Accepted, r.Position = r.Accepted+1, position
	}
	done(r)
}

// TestNow is the clock of the tests: 2023-11-14T22:13:20Z.
const TestNow = int64(1_700_000_000) * 1e9

// Held is an ended hold, open one without an end; times in unix seconds.
func Held(token, holder string, start, end int64, weight float64) hold.Draft {
	return hold.Draft{Token: token, Holder: holder, Start: At(start), End: At(end), Weight: weight, WeightGiven: true}
}

// OpenHold returns the event of an open hold; start is in seconds.
func OpenHold(token, holder string, start int64, weight float64) hold.Draft {
	return hold.Draft{Token: token, Holder: holder, Start: At(start), Weight: weight, WeightGiven: true}
}

// At returns a stamp of so many seconds since the epoch.
func At(seconds int64) hold.Stamp { return hold.Stamp{Seconds: seconds, Set: true} }

// ApplyTo writes events to a store as a processor would, at the clock of the tests;
// the checkpoints then name position and log time. Nil rules are none.
func ApplyTo(t *testing.T, store projection.Store, partitions int, rules hold.Rules, position uint64, logTime int64, drafts ...hold.Draft) {
	t.Helper()
	if rules == nil {
		rules = hold.PlainRules(hold.Merge)
	}
	pairs := map[projection.PairKey]*hold.Pair{}
	for _, d := range drafts {
		e, err := d.Check(TestNow, hold.Limits{MaxClockSkew: hold.MaxTime, MaxFutureEnd: hold.MaxTime})
		if err != nil {
			t.Fatal(err)
		}
		key := projection.PairKey{Holder: e.Holder, Token: e.Token}
		if pairs[key] == nil {
			pairs[key] = hold.NewPair(rules.Of(key.Token).Policy)
		}
		pairs[key].Add(e.Fact())
	}
	batches := map[int]*projection.Batch{}
	sums := map[string]hold.Figures{}
	seen := map[string]bool{}
	for key, pair := range pairs {
		p := ingest.Partition(key.Holder, partitions)
		if batches[p] == nil {
			batches[p] = &projection.Batch{Partition: p, Checkpoint: projection.Checkpoint{LogID: "log", Position: position, Epoch: 1, LogTime: logTime}}
		}
		change := projection.PairChange{Key: key, Policy: pair.Policy(), Figures: rules.Of(key.Token).Figures(pair, TestNow)}
		for f := range pair.Facts() {
			change.Facts = append(change.Facts, projection.LoggedFact{Fact: f, Position: position, LogTime: logTime})
		}
		for page := range pair.DirtyPages() {
			change.Pages = append(change.Pages, hold.Page{Key: slices.Clone(page.Key), Data: slices.Clone(page.Data)})
		}
		batches[p].Pairs = append(batches[p].Pairs, change)
		if seen[key.Holder] {
			sums[key.Holder] = sums[key.Holder].Plus(change.Figures)
		} else {
			sums[key.Holder], seen[key.Holder] = change.Figures, true
		}
	}
	for holder, sum := range sums {
		b := batches[ingest.Partition(holder, partitions)]
		b.Holders = append(b.Holders, projection.HolderRecord{Holder: holder, Figures: sum, UpdatedAt: logTime, Position: position})
	}
	for _, b := range batches {
		if err := store.Flush(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// Seconds returns a timestamp of so many seconds since the epoch.
func Seconds(s int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: s} }

// Timestamp returns a timestamp of so many nanoseconds since the epoch.
func Timestamp(ns int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(0, ns)) }
