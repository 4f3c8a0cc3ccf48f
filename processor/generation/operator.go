package generation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// Operator carries out what people ask of generations: list, build, compare, activate
// and drop them. It asks workers and gateways over NATS and the registry, and does none
// of their work.
//
// Each of its waits ends by itself: after the time that the caller allows, or when
// nothing has moved for too long. The error then names what was waited for and what was
// last heard. An Operator is safe for concurrent use if Notify is.
type Operator struct {
	Log      *ingest.Log
	Registry *Registry
	// Notify is called with what a wait waits for, each time that changes. It may be nil.
	Notify func(text string)
}

const (
	// noticeAfter is how long a wait may take before Notify is called.
	noticeAfter = time.Second
	// lookAgain is how often a wait looks where nothing tells of a change.
	lookAgain = 500 * time.Millisecond
	// answerSoon is how long the workers of a generation may take to report how far it is.
	answerSoon = 2 * time.Second
)

// notice calls Notify for one wait, once with each text.
type notice struct {
	o     *Operator
	began time.Time
	after time.Duration
	last  string
}

func (o *Operator) notice(after time.Duration) *notice {
	return &notice{o: o, began: time.Now(), after: after}
}

func (n *notice) say(text string) {
	if n.o.Notify != nil && text != "" && text != n.last && time.Since(n.began) >= n.after {
		n.last = text
		n.o.Notify(text)
	}
}

// Get reads a record. If there is none of that name, the error says where to look.
func (o *Operator) Get(ctx context.Context, name string) (Record, error) {
	g, err := o.Registry.Get(ctx, name)
	if errors.Is(err, ErrUnknown) {
		return g, fmt.Errorf("there is no generation %s; 'holdmetrics generations' lists those that there are", name)
	}
	return g, err
}

// ActiveRecord reads the record of the active generation.
func (o *Operator) ActiveRecord(ctx context.Context) (Record, error) {
	active, err := o.Registry.Active(ctx)
	if err != nil {
		return Record{}, err
	}
	return o.Get(ctx, active.Generation)
}

// Overview is a generation and how far it is.
type Overview struct {
	Record    Record
	State     string // active, previous, prepared, ready, "building 7 %" or dropping; then maybe ", paused"
	LastError string // what its workers reported last; empty: nothing
	Known     bool   // whether Watermarks are known
	Watermarks
}

// List returns all generations, the oldest first.
func (o *Operator) List(ctx context.Context) ([]Overview, error) {
	records, err := o.Registry.List(ctx)
	if err != nil {
		return nil, err
	}
	active, err := o.Registry.Active(ctx)
	if err != nil {
		return nil, err
	}
	prepare, err := o.Registry.Prepared(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Overview, 0, len(records))
	for _, r := range records {
		v := Overview{Record: r}
		if v.Watermarks, v.Known, err = o.watermarks(ctx, &r); err != nil {
			return nil, err
		}
		build, err := o.Build(ctx, &r)
		if err != nil {
			return nil, err
		}
		v.LastError = build.LastError
		switch {
		case r.Dropped:
			v.State = "dropping"
		case r.Name == active.Generation:
			v.State = "active"
		case !r.Built:
			v.State = "building " + strconv.Itoa(build.Percent()) + " %"
		case r.Name == prepare.Generation:
			v.State = "prepared"
		case r.Name == active.Previous:
			v.State = "previous"
		default:
			v.State = "ready"
		}
		if r.Paused && !r.Dropped {
			v.State += ", paused"
		}
		out = append(out, v)
	}
	return out, nil
}

// watermarks asks how far a generation is. It reports false if nobody knows.
func (o *Operator) watermarks(ctx context.Context, g *Record) (w Watermarks, known bool, err error) {
	if g.Paused || g.Dropped {
		return w, false, nil
	}
	ends, err := o.ends(ctx) // before the question, so that the lag is never too large
	if err != nil {
		return w, false, err
	}
	all, err := AskWatermarks(ctx, o.Log.JetStream().Conn(), g.Name, len(ends), answerSoon)
	if all == nil || err != nil {
		return w, false, err
	}
	return together(all, ends, g.Until), true, nil
}

// ends reads the last position of each partition of the log.
func (o *Operator) ends(ctx context.Context) ([]uint64, error) {
	ends := make([]uint64, o.Log.Partitions())
	for p := range ends {
		var err error
		if ends[p], err = o.Log.End(ctx, p); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// published reads how far the snapshots of a generation are, by partition. It returns
// nil if there are none.
func (o *Operator) published(ctx context.Context, name string) ([]uint64, error) {
	reached, err := projection.PublishedPositions(ctx, o.Log.JetStream(), name, o.Log.Partitions())
	if errors.Is(err, projection.ErrNotFound) {
		return nil, nil
	}
	at := make([]uint64, len(reached))
	for p := range reached {
		at[p] = reached[p].Position
	}
	return at, err
}

// Drop marks a generation as one that is to be removed. The active one is refused; the
// one that a rollback would go to is, unless previous is set.
func (o *Operator) Drop(ctx context.Context, name string, previous bool) error {
	if _, err := o.Get(ctx, name); err != nil {
		return err
	}
	return o.Registry.Change(ctx, name, func(g *Record) error {
		active, err := o.Registry.Active(ctx)
		if err != nil {
			return err
		}
		prepare, err := o.Registry.Prepared(ctx)
		if err != nil {
			return err
		}
		switch {
		case active.Generation == name:
			return fmt.Errorf("generation %s is the active one; activate another one first", name)
		case prepare.Generation == name:
			return fmt.Errorf("generation %s is being activated; 'holdmetrics activate %s' ends that, and where the command was killed, half a minute does", name, active.Generation)
		case active.Previous == name && !previous:
			return fmt.Errorf("generation %s is where a rollback goes to; --yes drops it all the same", name)
		}
		g.Dropped = true
		return nil
	})
}

// AwaitDropped waits until nothing of a dropped generation is left, for at most wait.
func (o *Operator) AwaitDropped(ctx context.Context, name string, wait time.Duration) error {
	notice := o.notice(2 * noticeAfter)
	over, err := o.awaitLooks(ctx, wait, func(ctx context.Context) (gone bool, err error) {
		_, err = o.Registry.Get(ctx, name)
		switch {
		case errors.Is(err, ErrUnknown):
			return true, nil
		case err == nil:
			notice.say("waiting until generation " + name + " is gone: " + o.holders(ctx, name))
		}
		return false, err
	})
	switch {
	case !over:
		return err
	case err != nil:
		return fmt.Errorf("after %s it is not known whether generation %s is gone: %w", wait, name, err)
	}
	return fmt.Errorf("generation %s is not gone after %s: %s", name, wait, o.holders(ctx, name))
}

// holders says in words which processes still work on a generation.
func (o *Operator) holders(ctx context.Context, name string) string {
	left, err := o.Registry.Progress(ctx, name)
	if err != nil {
		return err.Error()
	}
	if len(left) == 0 {
		return "no process works on it: it goes when serve, or a worker, runs"
	}
	ids := make([]string, len(left))
	for i, p := range left {
		ids[i] = p.Worker
	}
	slices.Sort(ids)
	return "these processes still have it: " + strings.Join(ids, ", ")
}
