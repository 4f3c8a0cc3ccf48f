package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

func newSeal() *cobra.Command {
	var before string
	c := &cobra.Command{
		Use:   "seal --before TIME",
		Short: "Make what was held before a time final, so that stores and memory stop growing",
		Long: `Seal makes what was held before a horizon final. Holds that ended before it become
an exact total for each token and holder, and their facts leave the stores, the
memory of 'holdmetrics serve' and of workers. The log is not shortened. All figures as
of the horizon and later stay what they are.

From then on
  - an event that would change what was held before the horizon is refused, or becomes
    a dead letter: one with an end at the horizon or before, one that starts before it,
    a retract. What was open at the horizon can still be ended, and an end that is
    later than the horizon corrected;
  - reads as of a time before the horizon are refused.

Where a hold reaches past the horizon, those that began after it stay until it has
ended and a later horizon is set. Tokens whose rules look at runs or seasons (shortest
run, boosts, season) are not sealed, though events are refused for them all the same.
It takes some seconds, so that no door acknowledges an event that is refused
afterwards. It cannot be undone. An earlier horizon, or the same again, changes nothing.

In MongoDB the facts leave the collection hold_events, so pipelines over it no longer
add up what was sealed; hold_pairs and hold_stats do. Keep a copy of hold_events before
(mongodump) if you need it. All gateways and workers must be of a version that knows
what was sealed before the first horizon is set: older ones are refused by the database
from then on.

Without --before it shows the horizon.`,
		Example: `  holdmetrics seal
  holdmetrics seal --before 2026-01-01T00:00:00Z`,
		Args: cobra.NoArgs,
	}
	natsFlags(c)
	c.Flags().StringVar(&before, "before", "", "the horizon: `time` in "+timeHelp)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var horizon int64
		if c.Flags().Changed("before") {
			stamp, err := parseStamp("before", before, wallClock())
			if err != nil {
				return err
			}
			if !stamp.Set || stamp.Seconds < 0 || stamp.Seconds > hold.MaxTime/1e9 {
				return usage.Errorf("--before %q is not a time to seal up to", before)
			}
			horizon = stamp.Seconds*1e9 + int64(stamp.Nanos)
		}
		return withLog(c, func(ctx context.Context, log *ingest.Log) error {
			if horizon != 0 {
				if err := ingest.CheckHorizon(horizon, wallClock()); err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "all doors learn of the horizon; the log is sealed in %v\n", log.SealsIn())
				if err := log.Seal(ctx, horizon, wallClock()); err != nil {
					return err
				}
			}
			out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			text := "nothing"
			if at := log.Horizon(); at != 0 {
				text = "all before " + time.Unix(0, at).UTC().Format(time.RFC3339Nano)
			}
			fmt.Fprintf(out, "sealed\t%s\n", text)
			return out.Flush()
		})
	}
	return c
}
