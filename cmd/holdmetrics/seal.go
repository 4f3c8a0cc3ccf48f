package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// sealWithin bounds a seal, beside the time that servers are given to learn of it.
const sealWithin = time.Minute

func newSeal() *cobra.Command {
	var before string
	c := &cobra.Command{
		Use:   "seal --before TIME",
		Short: "Make all holds before a time final",
		Long: `Make everything before a horizon final, so that stores and memory stop growing. Holds
that ended before it become an exact total for each token and holder, and their facts
are removed from stores and memory. The log is not shortened. All figures as of the
horizon and later stay the same. This cannot be undone.

After that
  - an event that would change anything before the horizon is refused, or becomes a
    dead letter: one that starts before it, one with an end at the horizon or before,
    a retract. A hold that was open at the horizon can still be ended, and an end after
    the horizon can be corrected;
  - reads as of a time before the horizon are refused.

If a hold of a token and holder reaches past the horizon, their holds that began after
it stay until it has ended and a later horizon is set. Tokens whose rules have a
shortest run, boosts or a season are not sealed, but events are refused for them too.
An earlier horizon, or the same again, changes nothing. The command takes some seconds,
so that no server acknowledges an event that is refused afterwards; if it is
interrupted, run it again.

In MongoDB the facts are removed from the collection hold_events, so pipelines over it
no longer add up what was sealed; hold_pairs and hold_stats do. If you need the facts,
copy hold_events first (mongodump). Upgrade all gateways and workers before the first
seal: the database refuses versions without sealing from then on.

Without --before the command prints the horizon.`,
		Example: `  holdmetrics seal
  holdmetrics seal --before 2026-01-01T00:00:00Z`,
		Args: cobra.NoArgs,
	}
	connect.NATSFlags(c)
	c.Flags().StringVar(&before, "before", "", "the horizon: `time` in "+usage.TimeHelp)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var horizon int64
		if c.Flags().Changed("before") {
			stamp, err := usage.ParseStamp("before", before, usage.WallClock())
			if err != nil {
				return err
			}
			if !stamp.Set || stamp.Seconds < 0 || stamp.Seconds > hold.MaxTime/1e9 {
				return usage.Errorf("--before %q is not a time to seal up to", before)
			}
			horizon = stamp.Seconds*1e9 + int64(stamp.Nanos)
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			if horizon != 0 {
				if err := ingest.CheckHorizon(horizon, usage.WallClock()); err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "all servers learn of the horizon; the log is sealed in %v\n", log.SealsIn())
				within, cancel := context.WithTimeout(ctx, log.SealsIn()+sealWithin)
				defer cancel()
				if err := log.Seal(within, horizon, usage.WallClock()); err != nil {
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
