package logcmd

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

func newDLQList() *cobra.Command {
	var q deadLetterQuery
	var count bool
	var limit int
	var format string
	c := &cobra.Command{
		Use:   "list [ID...]",
		Short: "List the dead letters",
		Long: `List prints the open dead letters that fit all the filters, in the order of the log,
or of the ids that are named; of more than 50,000 dead letters each 50,000 that came after
one another. --from and --to are places of the log, where the events lie. A table
cuts long ids; CSV and JSON have them whole.`,
		Example: `  holdmetrics dlq list
  holdmetrics dlq list --count
  holdmetrics dlq list --reason future --holder alice --format csv`,
	}
	q.flags(c)
	f := c.Flags()
	f.BoolVar(&q.resolved, "resolved", false, "those that were retried or dropped too")
	f.BoolVar(&q.resolved, "settled", false, "")
	_ = f.MarkDeprecated("settled", "use --resolved") // fails only for a flag that is not there
	f.BoolVar(&count, "count", false, "only count them, by kind of reason and field")
	f.IntVar(&limit, "limit", 0, "print `N` dead letters at most (default: all)")
	f.StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, ids []string) error {
		q.ids = ids
		if err := q.check(c); err != nil {
			return err
		}
		if limit < 0 || limit == 0 && f.Changed("limit") {
			return usage.Errorf("--limit %d: print one dead letter at least", limit)
		}
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			if count {
				return countDeadLetters(ctx, c.OutOrStdout(), log, &q, format)
			}
			return listDeadLetters(ctx, c.OutOrStdout(), log, &q, format, limit)
		})
	}
	return c
}

func listDeadLetters(ctx context.Context, w io.Writer, log *ingest.Log, q *deadLetterQuery, format string, limit int) error {
	out, err := printing.NewRowWriter(w, format, []string{"id", "kind", "field", "token_id", "holder_id", "reason", "resolved"})
	if err != nil {
		return err
	}
	shown := func(text string, _ int) string { return text }
	if format == "table" {
		shown = printing.Cut
	}
	for d, err := range q.sorted(ctx, log) {
		if err != nil {
			return err
		}
		// The bytes of a tombstone or of a cut dead letter are in the log; a list does not
		// fetch them one by one.
		draft := draftText{}
		if e, err := eventIn(&d); err == nil {
			draft = e
		}
		if err := out.Write(d.ID(), kindOrOther(&d), printable(d.Field), shown(draft.token, printing.ShownID), shown(draft.holder, printing.ShownID), shown(printable(d.Reason), printing.ShownReason), d.Outcome); err != nil {
			return err
		}
		if limit > 0 && out.Rows == limit {
			break
		}
	}
	return out.Close()
}

func countDeadLetters(ctx context.Context, w io.Writer, log *ingest.Log, q *deadLetterQuery, format string) error {
	type group struct{ kind, field, outcome string }
	counts := map[group]int{}
	for d, err := range q.deadLetters(ctx, log) {
		if err != nil {
			return err
		}
		counts[group{kindOrOther(&d), printable(d.Field), d.Outcome}]++
	}
	out, err := printing.NewRowWriter(w, format, []string{"kind", "field", "resolved", "count"})
	if err != nil {
		return err
	}
	groups := slices.SortedFunc(maps.Keys(counts), func(a, b group) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.field, b.field), cmp.Compare(a.outcome, b.outcome))
	})
	for _, g := range groups {
		if err := out.Write(g.kind, g.field, g.outcome, strconv.Itoa(counts[g])); err != nil {
			return err
		}
	}
	return out.Close()
}

// kindOrOther is the kind of a dead letter's reason; earlier versions wrote none.
func kindOrOther(d *ingest.DeadLetter) string { return cmp.Or(printable(d.Kind), "other") }

func newDLQShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID...",
		Short: "Show dead letters in full",
		Long: `Show prints the header of a dead letter, its event if that can be read, and its bytes.
Bytes that the dead letter does not carry are fetched from the log.`,
		Example: `  holdmetrics dlq show 3.1207.0`,
		Args: func(_ *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return errors.New("name the dead letters; 'holdmetrics dlq list' has them")
			}
			return nil
		},
	}
	c.RunE = func(c *cobra.Command, ids []string) error {
		q := deadLetterQuery{ids: ids, resolved: true, span: usage.Span{Partition: -1}}
		for _, id := range ids {
			if _, err := ingest.ParseDeadLetterID(id); err != nil {
				return usage.Wrap(err)
			}
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			for d, err := range q.deadLetters(ctx, log) {
				if err != nil {
					return err
				}
				if err := showDeadLetter(ctx, c.OutOrStdout(), log, d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}

func showDeadLetter(ctx context.Context, w io.Writer, log *ingest.Log, d ingest.DeadLetter) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s\t%s\n", name, value)
		}
	}
	line("id", d.ID())
	line("resolved", printable(d.Outcome))
	line("kind", printable(d.Kind))
	line("reason", printable(d.Reason))
	line("field", printable(d.Field))
	line("origin", printable(d.Origin))
	line("content type", printable(d.ContentType))
	whole, err := log.DeadLetters().Whole(ctx, d)
	if m, noMessage := log.Message(ctx, d.Sequence); noMessage == nil {
		line("log time", timeOfNs(m.Time))
	}
	if err != nil {
		line("bytes", fmt.Sprintf("%d of %d are here (%v)", len(d.Data), d.Size, err))
	} else {
		d = whole
		line("bytes", strconv.Itoa(len(d.Data)))
	}
	if e, err := eventIn(&d); err != nil {
		line("event", "cannot be read: "+printable(err.Error()))
	} else {
		line("event", e.kind)
		for _, f := range [][2]string{
			{"token_id", e.token}, {"holder_id", e.holder}, {"start", e.start}, {"end", e.end},
			{"weight", e.weight}, {"hold_id", e.holdID}, {"revision", e.revision},
		} {
			line("  "+f[0], f[1])
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	const most = 4 << 10
	dump := hex.Dumper(w)
	if _, err := dump.Write(d.Data[:min(len(d.Data), most)]); err != nil {
		return err
	}
	if err := dump.Close(); err != nil {
		return err
	}
	if more := len(d.Data) - most; more > 0 {
		_, err := fmt.Fprintf(w, "and %d more bytes\n", more)
		return err
	}
	return nil
}
