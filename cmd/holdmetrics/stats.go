package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

func newStats() *cobra.Command {
	var q query
	c := &cobra.Command{
		Use:   "stats [HOLDER]",
		Short: "Read exact scores from the server",
		Long: `Stats prints the score of a holder, or of all holders: exact decimals, in
weight-seconds and seconds. It waits until the server has applied all that was
acknowledged before. The score counts every hold up to the time asked for, the
settled score ended holds only.

With --watch it goes on: on a terminal with a table that stays in its place, the
greatest live scores first; else, and with --format csv or json, with a line for
every change. After an interruption it connects again, goes on where it was if the
server still knows that point, and says so. Ctrl-C ends it.`,
		Example: `  holdmetrics stats
  holdmetrics stats --watch
  holdmetrics stats alice --watch --format json
  holdmetrics stats alice --by-token
  holdmetrics stats --by-token --as-of 2021-07-13T23:30:32Z --format csv`,
		Args: cobra.MaximumNArgs(1),
	}
	server := connect.ServerFlag(c)
	q.flags(c)
	var projected bool
	c.Flags().BoolVar(&projected, "projected", false, "allow a time in the future: open holds stay as they are")
	var w watch
	w.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		now := usage.WallClock()
		if err := q.check(now); err != nil {
			return err
		}
		req := &holdpb.ScoresRequest{ByToken: q.byToken, Projected: projected}
		if len(args) == 1 {
			if req.HolderId = args[0]; req.HolderId == "" {
				return usage.Errorf("the holder's id is empty")
			}
		}
		if err := w.check(&q); err != nil {
			return err
		}
		if w.on {
			return w.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), *server, req.GetHolderId(), &q)
		}
		if q.hasAsOf {
			req.AsOf = connect.TimestampOf(hold.StampOf(q.asOf))
		}
		if q.hasAsOf && q.asOf > now && projected {
			fmt.Fprintln(c.ErrOrStderr(), "holdmetrics: projected: the time asked for is in the future, and assumes that open holds stay open")
		}
		return readScores(c.Context(), c.OutOrStdout(), *server, req, &q)
	}
	return c
}

func readScores(ctx context.Context, w io.Writer, server string, req *holdpb.ScoresRequest, q *query) error {
	return printRows(ctx, server, fmt.Sprintf("no holder %q is known", req.GetHolderId()),
		func(ctx context.Context, c holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[holdpb.Score], error) {
			return c.Scores(ctx, req)
		},
		func() (func(*holdpb.Score) error, func() error, error) {
			out, err := printing.NewScoreWriter(w, q.format, q.byToken)
			if err != nil {
				return nil, nil, err
			}
			return func(row *holdpb.Score) error {
				return out.Write(&printing.ScoreRow{
					Token: row.GetTokenId(), Holder: row.GetHolderId(),
					Score: row.GetScore(), Held: row.GetHeldSeconds(),
					Settled: row.GetSettledScore(), SettledHeld: row.GetSettledHeldSeconds(),
				})
			}, out.Close, nil
		})
}
