package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
is not there is a hold that is open.`,
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
	conn, err := dial(server)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsQueryClient(conn).Explain(ctx, req)
	if err != nil {
		return callError(server, err)
	}
	// Nothing is printed before the server has answered, not even a header.
	h, err := stream.Recv()
	if err != nil && err != io.EOF {
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("no holder %q is known, or not with that token; ids are compared letter by letter", req.GetHolderId())
		}
		return callError(server, err)
	}
	out, openErr := newRowWriter(w, format, []string{"token_id", "start", "end", "weight", "alone", "removed", "counted", "counted_seconds", "policy", "hold_id"})
	if openErr != nil {
		return openErr
	}
	for ; err == nil; h, err = stream.Recv() {
		err := out.Write(h.GetTokenId(), timeText(h.GetStart()), timeText(h.GetEnd()), h.GetWeight(),
			h.GetAlone(), h.GetRemoved(), h.GetCounted(), h.GetCountedSeconds(), h.GetPolicy(), h.GetHoldId())
		if err != nil {
			return err
		}
	}
	if err != io.EOF {
		return callError(server, err)
	}
	return out.Close()
}

// timeText is a time in RFC 3339; empty where there is none.
func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}
