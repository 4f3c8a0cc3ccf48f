package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	holdpb "holdmetrics/proto"
)

// topPage is how many holders one call asks for.
const topPage = 1000

func newTop() *cobra.Command {
	var by, format string
	var limit uint64
	req := &holdpb.TopRequest{}
	c := &cobra.Command{
		Use:   "top",
		Short: "Rank the holders by their scores",
		Long: `Top prints the holders with the greatest scores, ordered exactly, equal ones by
their ids: by settled score, or with --by live by the score up to this instant. All
rows are of one state, which the last line of the table states.`,
		Example: `  holdmetrics top
  holdmetrics top --by live --limit 10
  holdmetrics top --token GOLD --limit 100000 --format csv`,
		Args: cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	f := c.Flags()
	f.StringVar(&req.TokenId, "token", "", "of this token alone (default: over all)")
	f.StringVar(&by, "by", "settled", "settled or live")
	f.Uint64Var(&limit, "limit", 20, "how many holders")
	f.Uint64Var(&req.After, "after", 0, "wait until this `position` of the log counts")
	f.StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch by {
		case "settled":
			req.By = holdpb.RankBy_SETTLED
		case "live":
			req.By = holdpb.RankBy_LIVE
		default:
			return usage.Errorf("--by %q is not one of settled, live", by)
		}
		if limit == 0 {
			return usage.Errorf("--limit is 0; ask for one holder at least")
		}
		if f.Changed("token") && req.TokenId == "" {
			return usage.Errorf("--token is empty; leave it out for all tokens")
		}
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		return readTop(c.Context(), c.OutOrStdout(), server, req, limit, format)
	}
	return c
}

func readTop(ctx context.Context, w io.Writer, server *connect.Server, req *holdpb.TopRequest, limit uint64, format string) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := holdpb.NewHoldMetricsQueryClient(conn)
	var out *printing.RowWriter
	var page *holdpb.TopAnswer
	for out == nil || limit > 0 && page.GetNextCursor() != "" {
		req.Limit, req.Cursor = uint32(min(limit, topPage)), page.GetNextCursor()
		if page, err = client.Top(ctx, req); err != nil {
			return server.Error(err)
		}
		if out == nil {
			if out, err = printing.NewRowWriter(w, format, []string{"rank", "holder_id", "score", "settled_score", "held_seconds", "settled_held_seconds", "rate"}); err != nil {
				return err
			}
		}
		for _, h := range page.GetHolders() {
			err := out.Write(strconv.FormatUint(h.GetRank(), 10), h.GetHolderId(), h.GetScore(), h.GetSettledScore(), h.GetHeldSeconds(), h.GetSettledHeldSeconds(), h.GetRate())
			if err != nil {
				return err
			}
		}
		limit -= min(limit, uint64(len(page.GetHolders())))
	}
	if err := out.Close(); err != nil || format != "table" {
		return err
	}
	_, err = fmt.Fprintf(w, "%d of %d holders, as of %s\n", out.Rows, page.GetCount(), page.GetAsOf().AsTime().Format(time.RFC3339Nano))
	return err
}
