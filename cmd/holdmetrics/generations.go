package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/generation"
)

func newGenerations() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "generations",
		Short: "List the generations of the projections",
		Long: `Generations lists the sets of projections that were made from the log, each by one
set of rules: which is read (active), which a rollback goes to (previous), which are
being built, ready, prepared (an 'activate' has gateways load it, or was killed less
than half a minute ago) or being dropped. position is how far snapshots and store are,
lag by how many positions of the log the partition that is furthest behind is (those of
other partitions in between are counted too).

'holdmetrics rebuild' makes one, 'activate' has it read, 'rollback' goes back, and
'drop' removes one.`,
		Example: `  holdmetrics generations
  holdmetrics generations show 2`,
		Args: cobra.NoArgs,
	}
	natsFlags(c)
	c.Flags().StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkFormat(format); err != nil {
			return err
		}
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			all, err := o.list(ctx)
			if err != nil {
				return err
			}
			out, err := newRowWriter(c.OutOrStdout(), format, []string{"generation", "state", "rules", "policy", "until", "position", "lag", "created"})
			if err != nil {
				return err
			}
			for _, g := range all {
				until, position, lag := "", "", ""
				if g.record.Until != 0 {
					until = positionText(g.record.Until)
				}
				if g.known {
					position, lag = positionText(g.position), positionText(g.lag)
				}
				if err := out.Write(g.record.Name, g.state, g.record.Version, g.record.Policy, until, position, lag, g.record.Created.Format(time.RFC3339)); err != nil {
					return err
				}
			}
			return out.Close()
		})
	}
	show := &cobra.Command{
		Use:   "show NAME",
		Short: "Print the rules of a generation",
		Args:  oneGeneration,
	}
	show.RunE = func(c *cobra.Command, args []string) error {
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			g, err := o.get(ctx, args[0])
			if err != nil {
				return err
			}
			text := g.Rules
			if text == "" {
				text = "policy: " + g.Policy + "\n"
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		})
	}
	c.AddCommand(show)
	return c
}

// oneGeneration asks for the name of a generation.
func oneGeneration(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one generation; 'holdmetrics generations' lists them")
	}
	return generation.CheckName(args[0])
}

// operator is who looks after generations, over NATS.
type operator struct {
	js      jetstream.JetStream
	log     *ingest.Log
	records *generation.Registry
}

// withGenerations connects for as long as f takes.
func withGenerations(c *cobra.Command, f func(ctx context.Context, o *operator) error) error {
	return withLog(c, func(ctx context.Context, log *ingest.Log) error {
		records, err := generation.Find(ctx, log.JetStream())
		if errors.Is(err, generation.ErrUnknown) {
			return errors.New("there are no generations yet: neither serve nor a worker has run over this log")
		}
		if err != nil {
			return err
		}
		err = f(ctx, &operator{log.JetStream(), log, records})
		return interrupted(err)
	})
}

// get reads a record, and says what to do where there is none.
func (o *operator) get(ctx context.Context, name string) (generation.Record, error) {
	g, err := o.records.Get(ctx, name)
	if errors.Is(err, generation.ErrUnknown) {
		return g, fmt.Errorf("there is no generation %s; 'holdmetrics generations' lists those that there are", name)
	}
	return g, err
}

// listed is a generation and how it does.
type listed struct {
	record        generation.Record
	state         string
	known         bool // position and lag are
	position, lag uint64
}

func (o *operator) list(ctx context.Context) ([]listed, error) {
	records, err := o.records.List(ctx)
	if err != nil {
		return nil, err
	}
	active, err := o.records.Active(ctx)
	if err != nil {
		return nil, err
	}
	prepare, err := o.records.Prepared(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]listed, 0, len(records))
	for _, r := range records {
		l := listed{record: r}
		at, err := o.positions(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		if l.known = at != nil; l.known {
			for p := range at {
				l.position = max(l.position, at[p])
			}
			if l.lag, err = o.lag(ctx, at); err != nil {
				return nil, err
			}
		}
		switch {
		case r.Dropped:
			l.state = "dropping"
		case r.Name == active.Generation:
			l.state = "active"
		case !r.Built:
			done, err := o.built(ctx, &r)
			if err != nil {
				return nil, err
			}
			l.state = "building " + strconv.Itoa(done.percent()) + " %"
			if done.trouble != "" {
				l.state += ": " + done.trouble
			}
		case r.Name == prepare.Generation:
			l.state = "prepared"
		case r.Name == active.Previous:
			l.state = "previous"
		default:
			l.state = "ready"
		}
		if r.Paused && !r.Dropped {
			l.state += ", paused"
		}
		out = append(out, l)
	}
	return out, nil
}

// positions are how far the snapshots of a generation are, by partition; nil where
// there are none.
func (o *operator) positions(ctx context.Context, name string) ([]uint64, error) {
	reached, err := projection.PublishedPositions(ctx, o.js, name, o.log.Partitions())
	if errors.Is(err, projection.ErrNotFound) {
		return nil, nil
	}
	at := make([]uint64, len(reached))
	for p := range reached {
		at[p] = reached[p].Position
	}
	return at, err
}

// lag is by how many positions of the log a partition is behind its own end, at most.
func (o *operator) lag(ctx context.Context, at []uint64) (lag uint64, err error) {
	for p := range at {
		end, err := o.log.End(ctx, p)
		if err != nil {
			return 0, err
		}
		if end > at[p] {
			lag = max(lag, end-at[p])
		}
	}
	return lag, nil
}

// building is how far a generation is with what it is to be built of.
type building struct {
	position, goal   uint64 // sums over the partitions
	partitions       int    // that somebody works on
	events, rejected uint64
	trouble          string
}

func (b *building) percent() int {
	if b.goal == 0 {
		return 0
	}
	return int(min(b.position, b.goal) * 100 / b.goal)
}

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
	for p := range o.log.Partitions() {
		of, ok := best[p]
		if !ok {
			b.goal += max(r.Goal, 1)
			continue
		}
		b.position += min(of.Position, of.Goal)
		b.goal += of.Goal
		b.events += of.Events
		b.rejected += of.Rejected
	}
	return b, nil
}
