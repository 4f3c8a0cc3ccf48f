package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

func newGenerations() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "generations",
		Short: "List the generations of the projections",
		Long: `Generations lists the sets of projections that were made from the log, each by one
set of rules: which is read (active), which a rollback goes to (previous), which are
being built, ready, prepared (an 'activate' has gateways load it, or was killed less
than half a minute ago) or being dropped.

position is up to where everything of the log is applied, stored and published up to
where that is durable in the store and in the snapshots that are read; each lag is
what the log has behind that, in positions. They are of the partition that is furthest
behind; 'holdmetrics status' has each partition of the active one. Where nobody works
on a generation, or not on all of it, nothing is known. rejected counts the events that
it refused, by its rules or for what they are: a rebuild writes no dead letters.

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
			out, err := newRowWriter(c.OutOrStdout(), format, []string{
				"generation", "state", "rules", "policy", "until",
				"position", "lag", "stored", "stored_lag", "published", "published_lag", "rejected", "created",
			})
			if err != nil {
				return err
			}
			for _, g := range all {
				until, far := "", make([]string, 7)
				if g.record.Until != 0 {
					until = positionText(g.record.Until)
				}
				if g.known {
					far = far[:0]
					for _, at := range []uint64{g.position, g.stored, g.published} {
						far = append(far, positionText(at), positionText(g.end-at))
					}
					far = append(far, positionText(g.rejected))
				}
				row := append([]string{g.record.Name, g.state, g.record.Version, g.record.Policy, until}, far...)
				if err := out.Write(append(row, g.record.Created.Format(time.RFC3339))...); err != nil {
					return err
				}
			}
			if err := out.Close(); err != nil {
				return err
			}
			for _, g := range all {
				if g.trouble != "" {
					fmt.Fprintf(c.ErrOrStderr(), "generation %s: %s\n", g.record.Name, strings.ReplaceAll(g.trouble, "\n", "; "))
				}
			}
			return nil
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
	record  generation.Record
	state   string
	trouble string // empty: none is known
	known   bool   // what follows is
	reached
}

// reached is how far a generation is with the log: up to these positions it has all.
type reached struct {
	position, stored, published uint64
	end                         uint64 // of the log, or where the generation ends
	rejected                    uint64
}

// answerWithin is how long the workers of a generation may take to say how far it is.
const answerWithin = 2 * time.Second

// reach asks how far a generation is; false where nobody knows.
func (o *operator) reach(ctx context.Context, g *generation.Record) (r reached, known bool, err error) {
	if g.Paused || g.Dropped {
		return r, false, nil
	}
	ends := make([]uint64, o.log.Partitions())
	for p := range ends { // before what is asked, so that there is no lag that there never was
		if ends[p], err = o.log.End(ctx, p); err != nil {
			return r, false, err
		}
	}
	all, err := generation.Reached(ctx, o.js.Conn(), g.Name, len(ends), answerWithin)
	if all == nil || err != nil {
		return r, false, err
	}
	return reachOf(all, ends, g.Until), true, nil
}

// reachOf is how far the partitions are together, whose last positions are ends. What
// is behind the last of them is in none.
func reachOf(all []generation.Reach, ends []uint64, until uint64) (r reached) {
	r.end = slices.Max(ends)
	if until != 0 {
		r.end = until
	}
	r.position, r.stored, r.published = r.end, r.end, r.end
	for p := range all {
		of := &all[p]
		r.rejected += of.Rejected
		end := ends[p]
		if of.Ended {
			end = of.Position
		}
		for _, at := range []struct {
			whole *uint64
			here  uint64
		}{{&r.position, of.Position}, {&r.stored, of.Stored}, {&r.published, of.Published}} {
			if at.here < end {
				*at.whole = min(*at.whole, at.here)
			}
		}
	}
	return r
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
		if l.reached, l.known, err = o.reach(ctx, &r); err != nil {
			return nil, err
		}
		done, err := o.built(ctx, &r)
		if err != nil {
			return nil, err
		}
		l.trouble = done.trouble
		switch {
		case r.Dropped:
			l.state = "dropping"
		case r.Name == active.Generation:
			l.state = "active"
		case !r.Built:
			l.state = "building " + strconv.Itoa(done.percent()) + " %"
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
