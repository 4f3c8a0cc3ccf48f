package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/metacmd"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
)

func newGenerations() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "generations",
		Short: "List the generations of the projections",
		Long: `List the generations: sets of projections made from the log, each by one set of rules.
The state is active (it is read), previous (a rollback goes to it), building, ready,
prepared (an 'activate' has gateways load it, or was killed less than half a minute
ago) or dropping.

position is where the log is applied up to; stored and published are where the store
and the snapshots are. Each lag is the number of positions that the log has after
that. All are of the partition that is furthest behind; 'holdmetrics status' shows each
partition of the active generation. The columns are empty if not all partitions have
a worker that answers. rejected counts refused events: a rebuild writes no dead letters.

'holdmetrics rebuild' builds a generation, 'activate' moves readers to it, 'rollback'
goes back, and 'drop' removes one.`,
		Example: `  holdmetrics generations
  holdmetrics generations show 2`,
		Args: cobra.NoArgs,
	}
	connect.NATSFlags(c)
	c.Flags().StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			all, err := o.List(ctx)
			if err != nil {
				return err
			}
			out, err := printing.NewRowWriter(c.OutOrStdout(), format, []string{
				"generation", "state", "rules", "policy", "until",
				"position", "lag", "stored", "stored_lag", "published", "published_lag", "rejected", "created",
			})
			if err != nil {
				return err
			}
			for _, g := range all {
				until, far := "", make([]string, 7)
				if g.Record.Until != 0 {
					until = usage.PositionText(g.Record.Until)
				}
				if g.Known {
					far = far[:0]
					for _, at := range []uint64{g.Position, g.Stored, g.Published} {
						far = append(far, usage.PositionText(at), usage.PositionText(g.End-at))
					}
					far = append(far, usage.PositionText(g.Rejected))
				}
				row := append([]string{g.Record.Name, g.State, g.Record.Version, g.Record.Policy, until}, far...)
				if err := out.Write(append(row, g.Record.Created.Format(time.RFC3339))...); err != nil {
					return err
				}
			}
			if err := out.Close(); err != nil {
				return err
			}
			for _, g := range all {
				if g.LastError != "" {
					fmt.Fprintf(printing.SafeText(c.ErrOrStderr()), "generation %s: %s\n", g.Record.Name, strings.ReplaceAll(g.LastError, "\n", "; "))
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
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			g, err := o.Get(ctx, args[0])
			if err != nil {
				return err
			}
			text := g.Rules
			if text == "" {
				text = "policy: " + g.Policy + "\n"
			}
			_, err = fmt.Fprint(printing.SafeText(c.OutOrStdout()), text)
			return err
		})
	}
	c.AddCommand(metacmd.NewRepair(), show)
	return c
}

// oneGeneration checks that the arguments are the name of one generation.
func oneGeneration(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one generation; 'holdmetrics generations' lists them")
	}
	return generation.CheckName(args[0])
}

// withGenerations connects for as long as f takes.
func withGenerations(c *cobra.Command, f func(ctx context.Context, o *generation.Operator) error) error {
	return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
		records, err := generation.Find(ctx, log.JetStream())
		if errors.Is(err, generation.ErrUnknown) {
			return errors.New("there are no generations yet: neither serve nor a worker has run over this log")
		}
		if err != nil {
			return err
		}
		o := &generation.Operator{Log: log, Registry: records, Notify: func(text string) {
			fmt.Fprintln(printing.SafeText(c.ErrOrStderr()), strings.ReplaceAll(text, "\n", "; "))
		}}
		return printing.Interrupted(f(ctx, o))
	})
}
