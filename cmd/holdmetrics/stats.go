package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	holdpb "holdmetrics/proto"
)

func newStats() *cobra.Command {
	var q statsQuery
	c := &cobra.Command{
		Use:   "stats [HOLDER]",
		Short: "Read exact scores from the server",
		Long: `Stats prints the score of a holder, or of all holders: exact decimals, in
weight-seconds and seconds. It waits until the server has applied all that was
acknowledged before. The score counts every hold up to the time asked for, the
settled score ended holds only. weight is what is held at that time, by the policy of
the token, and rate what the score grows by in a second.

--from and --to ask for what was gained in a window. --share adds each row's part of
the sum over all holders, of the same token with --by-token: an exact fraction, rounded
down to --digits digits.

With --watch it goes on: on a terminal with a table that stays in its place, the
greatest live scores first; else, and with --format csv or json, with a line for
every change. After an interruption it connects again, goes on where it was if the
server still knows that point, and says so. Ctrl-C ends it.`,
		Example: `  holdmetrics stats
  holdmetrics stats --watch
  holdmetrics stats alice --watch --format json
  holdmetrics stats alice --by-token
  holdmetrics stats --from 2026-01-01 --to 2026-02-01 --share
  holdmetrics stats --by-token --as-of 2021-07-13T23:30:32Z --format csv`,
		Args: cobra.MaximumNArgs(1),
	}
	server := connect.ServerFlags(c)
	q.flags(c)
	var w watch
	w.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		req, err := q.request(usage.WallClock())
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if req.HolderId = args[0]; req.HolderId == "" {
				return usage.Errorf("the holder's id is empty")
			}
		}
		if err := w.check(&q); err != nil {
			return err
		}
		if w.on {
			return w.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), server, req.GetHolderId(), q.format)
		}
		return readScores(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), server, req, q.format)
	}
	return c
}

// statsQuery is what stats is asked for.
type statsQuery struct {
	window
	set     *pflag.FlagSet
	token   string
	byToken bool
	share   bool
	digits  int
	format  string
}

func (q *statsQuery) flags(c *cobra.Command) {
	f := c.Flags()
	q.set = f
	q.window.flags(f)
	f.StringVar(&q.token, "token", "", "of this token alone (default: all)")
	f.BoolVar(&q.byToken, "by-token", false, "a row for each token of a holder")
	f.BoolVar(&q.share, "share", false, "with each row's part of the sum over all holders")
	f.IntVar(&q.digits, "digits", 18, "decimal places of a share, which is rounded down")
	f.StringVar(&q.format, "format", "table", "table, csv or json")
}

// request checks the flags and returns what they ask for, of all holders.
func (q *statsQuery) request(now int64) (*holdpb.ScoresRequest, error) {
	if err := printing.CheckFormat(q.format); err != nil {
		return nil, err
	}
	if err := checkDigits(q.set, q.digits, q.share); err != nil {
		return nil, err
	}
	if q.token == "" && q.set.Changed("token") {
		return nil, usage.Errorf("--token is empty; leave it out for all tokens")
	}
	stamps, err := q.stamps(q.set, now)
	if err != nil {
		return nil, err
	}
	req := &holdpb.ScoresRequest{
		TokenId: q.token, ByToken: q.byToken, Share: q.share, Projected: q.projected, AsOfNow: q.asOfNow(),
		AsOf: connect.TimestampOf(stamps[0]), From: connect.TimestampOf(stamps[1]), To: connect.TimestampOf(stamps[2]),
	}
	if q.set.Changed("digits") {
		digits := uint32(q.digits)
		req.Digits = &digits
	}
	return req, nil
}

// scoreColumn is a column of what stats prints.
type scoreColumn struct {
	name string
	of   func(*holdpb.Score) string
}

// scoreColumns returns the columns of an answer to a request, those of score offline.
func scoreColumns(req *holdpb.ScoresRequest) []scoreColumn {
	var columns []scoreColumn
	if req.GetByToken() {
		columns = append(columns, scoreColumn{"token_id", (*holdpb.Score).GetTokenId})
	}
	columns = append(columns,
		scoreColumn{"holder_id", (*holdpb.Score).GetHolderId},
		scoreColumn{"score", (*holdpb.Score).GetScore},
		scoreColumn{"held_seconds", (*holdpb.Score).GetHeldSeconds},
		scoreColumn{"settled_score", (*holdpb.Score).GetSettledScore},
		scoreColumn{"settled_held_seconds", (*holdpb.Score).GetSettledHeldSeconds},
	)
	if req.GetFrom() == nil {
		columns = append(columns,
			scoreColumn{"weight", (*holdpb.Score).GetWeight},
			scoreColumn{"rate", (*holdpb.Score).GetRate},
		)
	}
	if req.GetShare() {
		columns = append(columns,
			scoreColumn{"total_score", (*holdpb.Score).GetTotalScore},
			scoreColumn{"total_settled_score", (*holdpb.Score).GetTotalSettledScore},
			scoreColumn{"share", (*holdpb.Score).GetShareExact},
			scoreColumn{"settled_share", (*holdpb.Score).GetSettledShareExact},
		)
	}
	return columns
}

func readScores(ctx context.Context, w, notes io.Writer, server *connect.Server, req *holdpb.ScoresRequest, format string) error {
	unknown := fmt.Sprintf("no holder %q is known", req.GetHolderId())
	if req.GetTokenId() != "" {
		unknown += ", or not with that token"
	}
	return printRows(ctx, server, unknown,
		func(ctx context.Context, c holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[holdpb.Score], error) {
			return c.Scores(ctx, req)
		},
		func() (func(*holdpb.Score) error, func() error, error) {
			columns := scoreColumns(req)
			names := make([]string, len(columns))
			for i := range columns {
				names[i] = columns[i].name
			}
			out, err := printing.NewRowWriter(w, format, names)
			if err != nil {
				return nil, nil, err
			}
			note := projectedNote{out: notes}
			return func(row *holdpb.Score) error {
				note.row(row.GetProjected())
				fields := make([]string, len(columns))
				for i, c := range columns {
					fields[i] = c.of(row)
				}
				return out.Write(fields...)
			}, out.Close, nil
		})
}
