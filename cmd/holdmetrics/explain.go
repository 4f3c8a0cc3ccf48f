package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

func newExplain() *cobra.Command {
	var w window
	var format string
	req := &holdpb.ExplainRequest{}
	c := &cobra.Command{
		Use:   "explain HOLDER",
		Short: "Show the holds behind a holder's score",
		Long: `Explain prints each hold that reaches into the time asked for, and how it comes to
what it counts, in weight-seconds:

  plain            its weight times how long it covers that time
  - cut            what a season, or a shortest run, takes away
  + multiplied     what the multiplier of its token adds; below 1 it takes away
  + boosted        what boosts add to it
  = alone          what it would count if there were no other hold
  - removed        what overlap with heavier or equal holds removed
  + added          what other holds added: where they began its run, it is boosted more,
                   or long enough to count
  = counted        what it counts

What the holds count adds up to the holder's score, exactly; what is settled of it to
the settled score, which is as of an instant, not of a window. Without rules the
table leaves out what is 0 then; csv and json have every column.

A cut is negative where a run became long enough in the window, so that what it had
before counts too. An end that is not there is a hold that is open; a row without start
is of all holds that were sealed (see 'holdmetrics seal').`,
		Example: `  holdmetrics explain alice
  holdmetrics explain alice --token GOLD --as-of 2026-01-05T00:00:00Z
  holdmetrics explain alice --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --format csv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one holder")
			}
			return nil
		},
	}
	server := connect.ServerFlags(c)
	f := c.Flags()
	f.StringVar(&req.TokenId, "token", "", "of this token alone (default: all)")
	w.flags(f)
	f.StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if req.HolderId = args[0]; req.HolderId == "" {
			return usage.Errorf("the holder's id is empty")
		}
		if f.Changed("token") && req.TokenId == "" {
			return usage.Errorf("--token is empty; leave it out for all tokens")
		}
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		stamps, err := w.stamps(f, usage.WallClock())
		if err != nil {
			return err
		}
		req.Projected = w.projected
		req.AsOf, req.From, req.To = connect.TimestampOf(stamps[0]), connect.TimestampOf(stamps[1]), connect.TimestampOf(stamps[2])
		return readExplain(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), server, req, format)
	}
	return c
}

func readExplain(ctx context.Context, w, notes io.Writer, server *connect.Server, req *holdpb.ExplainRequest, format string) error {
	return printRows(ctx, server, fmt.Sprintf("no holder %q is known, or not with that token", req.GetHolderId()),
		func(ctx context.Context, c holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[holdpb.Contribution], error) {
			return c.Explain(ctx, req)
		},
		func() (func(*holdpb.Contribution) error, func() error, error) {
			var out *printing.RowWriter
			columns := explainColumns
			begin := func(rules string) (err error) {
				if format == "table" {
					columns = explainTable(rules)
				}
				out, err = printing.NewRowWriter(w, format, namesOf(columns))
				return err
			}
			note := projectedNote{out: notes}
			write := func(h *holdpb.Contribution) error {
				note.row(h.GetProjected())
				if out == nil { // the first row says which rules there are
					if err := begin(h.GetRules()); err != nil {
						return err
					}
				}
				fields := make([]string, len(columns))
				for i, c := range columns {
					fields[i] = c.of(h)
				}
				return out.Write(fields...)
			}
			done := func() error {
				if out == nil {
					if err := begin(hold.NoRulesVersion); err != nil {
						return err
					}
				}
				return out.Close()
			}
			return write, done, nil
		})
}

// explainColumn is a column of what explain prints.
type explainColumn struct {
	name string
	of   func(*holdpb.Contribution) string
}

var explainColumns = []explainColumn{
	{"token_id", (*holdpb.Contribution).GetTokenId},
	{"start", func(h *holdpb.Contribution) string { return timeText(h.GetStart()) }},
	{"end", func(h *holdpb.Contribution) string { return timeText(h.GetEnd()) }},
	{"weight", (*holdpb.Contribution).GetWeight},
	{"alone", (*holdpb.Contribution).GetAlone},
	{"removed", (*holdpb.Contribution).GetRemoved},
	{"counted", (*holdpb.Contribution).GetCounted},
	{"counted_seconds", (*holdpb.Contribution).GetCountedSeconds},
	{"policy", (*holdpb.Contribution).GetPolicy},
	{"hold_id", (*holdpb.Contribution).GetHoldId},
	{"plain", (*holdpb.Contribution).GetPlain},
	{"cut", (*holdpb.Contribution).GetCut},
	{"multiplied", (*holdpb.Contribution).GetMultiplied},
	{"boosted", (*holdpb.Contribution).GetBoosted},
	{"added", (*holdpb.Contribution).GetAdded},
	{"settled", (*holdpb.Contribution).GetSettled},
	{"rule", (*holdpb.Contribution).GetRule},
}

// explainTable are the columns of a table, in the order in which they add up. Where
// there are no rules it leaves out what says nothing then.
func explainTable(version string) []explainColumn {
	names := []string{"token_id", "start", "end", "weight", "plain", "cut", "multiplied", "boosted", "alone", "removed", "added", "counted", "counted_seconds", "settled", "policy", "rule", "hold_id"}
	if version == hold.NoRulesVersion {
		names = []string{"token_id", "start", "end", "weight", "alone", "removed", "counted", "counted_seconds", "settled", "policy", "hold_id"}
	}
	out := make([]explainColumn, len(names))
	for i, name := range names {
		out[i] = explainColumns[slices.IndexFunc(explainColumns, func(c explainColumn) bool { return c.name == name })]
	}
	return out
}

func namesOf(columns []explainColumn) []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// timeText returns a time in RFC 3339, or "" if there is none.
func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}
