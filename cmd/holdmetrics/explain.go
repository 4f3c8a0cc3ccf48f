package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

func newExplain() *cobra.Command {
	var w window
	var format string
	req := &holdpb.ExplainRequest{}
	c := &cobra.Command{
		Use:   "explain HOLDER",
		Short: "Show the holds behind a holder's score",
		Long: `Explain prints each hold that reaches into the time asked for: what it would count
alone, what overlap with heavier or equal holds of the same token removed, and what
it counts. What the holds count adds up to the holder's score, exactly. An end that
is not there is a hold that is open; a row without start is of all holds that were
sealed (see 'holdmetrics seal').`,
		Example: `  holdmetrics explain alice
  holdmetrics explain alice --token GOLD --as-of 2026-01-05T00:00:00Z
  holdmetrics explain alice --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --format csv`,
		Args: cobra.ExactArgs(1),
	}
	server := serverFlag(c)
	f := c.Flags()
	f.StringVar(&req.TokenId, "token", "", "of this token alone (default: all)")
	w.flags(f)
	f.StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if req.HolderId = args[0]; req.HolderId == "" {
			return usagef("the holder's id is empty")
		}
		if f.Changed("token") && req.TokenId == "" {
			return usagef("--token is empty; leave it out for all tokens")
		}
		if err := checkFormat(format); err != nil {
			return err
		}
		stamps, err := w.stamps(f, wallClock())
		if err != nil {
			return err
		}
		req.AsOf, req.From, req.To = timestampOf(stamps[0]), timestampOf(stamps[1]), timestampOf(stamps[2])
		return readExplain(c.Context(), c.OutOrStdout(), *server, req, format)
	}
	return c
}

func readExplain(ctx context.Context, w io.Writer, server string, req *holdpb.ExplainRequest, format string) error {
	return printRows(ctx, server, fmt.Sprintf("no holder %q is known, or not with that token", req.GetHolderId()),
		func(ctx context.Context, c holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[holdpb.Contribution], error) {
			return c.Explain(ctx, req)
		},
		func() (func(*holdpb.Contribution) error, func() error, error) {
			out, err := newRowWriter(w, format, []string{"token_id", "start", "end", "weight", "alone", "removed", "counted", "counted_seconds", "policy", "hold_id"})
			if err != nil {
				return nil, nil, err
			}
			return func(h *holdpb.Contribution) error {
				return out.Write(h.GetTokenId(), timeText(h.GetStart()), timeText(h.GetEnd()), h.GetWeight(),
					h.GetAlone(), h.GetRemoved(), h.GetCounted(), h.GetCountedSeconds(), h.GetPolicy(), h.GetHoldId())
			}, out.Close, nil
		})
}

// timeText is a time in RFC 3339; empty where there is none.
func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}
