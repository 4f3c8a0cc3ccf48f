package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/transfers"
	holdpb "holdmetrics/proto"
)

func newImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Send transfers, balances or events to the server",
		Long: `Import sends what files say to a running server. Running it again changes
nothing that is already there, so whatever was interrupted is simply repeated.`,
	}
	ofTransfers := &cobra.Command{
		Use:   "transfers FILE...",
		Short: "Import token Transfer logs",
		Long: `Each change of a balance closes a hold with the old balance as its weight and
opens one with the new. Rows may stand in any order; those of one time are netted. The
zero address and empty ones are no holders. Nothing is sent before every row was
checked.

Files are CSV (with commas, semicolons or tabs), NDJSON, JSON arrays or Parquet, each
also packed with gzip or zstd; what a file is, is found out by its first bytes. "-" is
the standard input. --preset names the columns of a source; without it the header is
looked at. docs/import.md lists the columns.

With the columns of transaction and log index an equal row counts once, also over
several files. With --id each id of an ERC-1155 or ERC-721 token is a token
"<token>/<id>"; a row may list several, such as [7,8], beside their amounts.

--on-bad-token skip leaves a token out whose rows do not add up, names it, and ends
with 1. --checkpoint takes balances from a file as corrections between transfers.

With --closing the balances at the end are kept in a file, with which --opening
continues: tomorrow's file needs no history. That file is CSV: token_id,
holder_id, balance and since for each pair, and one last row without token and
holder, whose as_of is the time of the last row that it covers, and whose decimals
and nft are how values were read, with the other options that change figures. Rows
that are not later than as_of, and other options, are refused. --closing may name the file of --opening: it is replaced whole,
after everything was acknowledged. A bad row ends the import.

Without --opening, files of a token of which the server has open balances are refused,
unless they come to those balances themselves. --append takes the balances from the
server as they were before the first row, so that tomorrow's file just goes on. Files
that were imported before are accepted in any order, and change nothing.

When a chain reorganises, --replaces names the files of the abandoned blocks as they
were imported, FILE has the blocks that took their place, and --opening the balances
before the first of them, for both. What only the abandoned blocks say is retracted,
what only the new ones say is sent, and the scores are as if the former had never been
sent. FILE must reach as far in time as they did.

What was retracted stays so, also when a later branch says it again: one equal change
of a balance is enough, such as the same transfer in a block of the same time. So the
list of it is kept beside FILE, as FILE.retracted.ndjson; leave it there. When FILE is
replaced in its turn (--replaces FILE), a branch that says any of it again, or goes back
to blocks once abandoned, is refused before anything is sent. Send such blocks as
events with hold_id and revision, or import blocks when they are final.`,
		Example: `  holdmetrics import transfers transfers.csv.gz --decimals 18
  holdmetrics import transfers day1.csv --closing day1.balances.csv
  holdmetrics import transfers day2.csv --opening day1.balances.csv --closing day2.balances.csv
  holdmetrics import transfers new-blocks.csv --replaces old-blocks.csv --opening before.balances.csv`,
		Args: usage.OneOrMoreFiles,
	}
	ofTransfers.Flags().StringArray(replacesFlag, nil, "`file` of abandoned blocks that were imported, in whose place the FILEs come; may be repeated")
	files := transferFlags(ofTransfers)
	files.appendFlag()
	for _, name := range []string{"from", "to"} {
		ofTransfers.Flags().String(name, "", "column, as in earlier versions: write --"+name+"-column")
		_ = ofTransfers.Flags().MarkHidden(name) // it is there
	}
	importCommand(ofTransfers, files.open)
	ofBalances := &cobra.Command{
		Use:   "balances FILE...",
		Short: "Import statements of balance",
		Long: `Each row says that from its time on a holder's balance of a token is so much; the
last statement stands until the next one. With columns valid_from and valid_to it says
that the balance was so from the one to the other; empty or 9999-12-31 means still.
With --snapshots each time has everybody's balance: who is missing has none.

Files and options are those of 'import transfers'. The columns are token_id, holder_id,
balance and time; docs/import.md lists their other names.`,
		Example: `  holdmetrics import balances balances.csv
  holdmetrics import balances daily.parquet --snapshots --decimals-column decimals`,
		Args: usage.OneOrMoreFiles,
	}
	statements := balanceFlags(ofBalances)
	statements.appendFlag()
	importCommand(ofBalances, statements.open)
	ofEvents := &cobra.Command{
		Use:   "events FILE...",
		Short: "Import hold events",
		Long: `The fields of an event, as columns of CSV or Parquet in any order or as names of
JSON objects: token_id, holder_id, start, end, weight, weight_exact, hold_id, revision,
retract. What is absent or empty is not given. Times are RFC 3339, with a space as well,
dates, or unix seconds, with up to nine fractional digits; an end in the year 9999 is an
open one.

weight is a double and means its shortest decimal form, so about 16 digits count;
weight_exact is text, counts to the last digit (37 before the point, 18 after it)
and beats weight.

A bad row (one that does not parse, or that the server refuses) is named as
FILE:LINE and passed over; the others are imported, and the command ends with 1.
A row that cannot be split (an open quote, damaged gzip) ends the import.`,
		Example: `  holdmetrics import events events.csv
  holdmetrics import events events.ndjson.gz --server 10.0.0.7:60051`,
		Args: usage.OneOrMoreFiles,
	}
	importCommand(ofEvents, eventFlags(ofEvents))
	c.AddCommand(ofTransfers, ofBalances, ofEvents)
	return c
}

// againHint is the end of what a failed import says.
const againHint = "running this again changes nothing that is already there"

// importCommand gives a command its flags and what it does.
func importCommand(c *cobra.Command, open openSource) {
	server := connect.ServerFlags(c)
	c.RunE = func(c *cobra.Command, files []string) error {
		bar := printing.NewProgress(c, files)
		s, err := open(files, sourceUse{read: bar.Add, ids: func() (holders, tokens transfers.IDs, err error) { return serverIDs(c.Context(), server) }})
		if err != nil {
			return err
		}
		start := time.Now()
		t := &upload.Tally{Holders: make(map[string]struct{}), Tokens: make(map[string]struct{})}
		err = sendAll(c.Context(), server, s, t)
		bar.Clear()
		reported := s.tell(c.ErrOrStderr())
		if s.ledger == nil {
			tellLookalikes(c.ErrOrStderr(), slices.Sorted(maps.Keys(t.Holders)), slices.Sorted(maps.Keys(t.Tokens)))
		}
		t.Overruled.Tell(c.ErrOrStderr())
		if err == nil && s.done != nil {
			err = s.done()
		}
		if err != nil {
			return fmt.Errorf("%w; %s acknowledged; %s", err, printing.Counted(t.Acknowledged, "event was", "events were"), againHint)
		}
		if err := summary(c.OutOrStdout(), s, t, reported, time.Since(start)); err != nil {
			return err
		}
		if n := s.bad.Rows(); n > 0 {
			return fmt.Errorf("%s refused; %s acknowledged and kept; %s", printing.Counted(n, "row was", "rows were"), printing.Counted(t.Acknowledged, "event was", "events were"), againHint)
		}
		if reported.badTokens > 0 {
			return fmt.Errorf("%s %w", printing.Counted(int64(reported.badTokens), "token was", "tokens were"), errBadTokens)
		}
		return nil
	}
}

// askIDsWithin is how long an import waits for the server's rules.
const askIDsWithin = 30 * time.Second

// serverIDs returns how the server's active rules normalise ids. A server that has no
// such call, or whose rules leave it open, leaves it to the ids themselves.
func serverIDs(ctx context.Context, server *connect.Server) (holders, tokens transfers.IDs, err error) {
	conn, err := server.Dial()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askIDsWithin)
	defer cancel()
	answer, err := holdpb.NewHoldMetricsQueryClient(conn).Status(ctx, &holdpb.Empty{})
	switch status.Code(err) {
	case codes.OK:
		return parseIDs(answer.GetHolderIds(), answer.GetTokenIds())
	case codes.Unimplemented:
		return transfers.IDsAuto, transfers.IDsAuto, nil
	}
	return 0, 0, fmt.Errorf("%w; the import asked how its rules normalise ids: give --ids to import without asking", server.Error(err))
}

func sendAll(ctx context.Context, server *connect.Server, s *source, t *upload.Tally) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsClient(conn).BroadcastBatch(ctx)
	if err != nil {
		return server.Error(err)
	}
	if err := s.begin(ctx, holdpb.NewHoldMetricsQueryClient(conn), server); err != nil {
		return err
	}
	err = server.Error(upload.Send(stream, s.events(ctx), s.bad, t))
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func summary(out io.Writer, s *source, t *upload.Tally, reported *summaries, took time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "rows\t%d\n", s.rows())
	for _, line := range reported.lines {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	fmt.Fprintf(w, "events\t%d\n", t.Events)
	fmt.Fprintf(w, "holders\t%d\n", len(t.Holders))
	fmt.Fprintf(w, "acknowledged\t%d\n", t.Acknowledged)
	fmt.Fprintf(w, "refused\t%d\n", max(t.Refused, s.bad.Rows()))
	if n := t.Overruled.Count; n > 0 {
		fmt.Fprintf(w, "without effect\t%d\n", n)
	}
	fmt.Fprintf(w, "seconds\t%.2f\n", took.Seconds())
	fmt.Fprintf(w, "events/s\t%.0f\n", float64(t.Acknowledged)/max(took.Seconds(), 1e-9))
	return w.Flush()
}
