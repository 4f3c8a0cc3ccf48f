// Package logcmd holds the commands about the event log and its dead letters.
package logcmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

// New returns the command log, which prints and verifies the log.
func New() *cobra.Command {
	var q logQuery
	c := &cobra.Command{
		Use:   "log",
		Short: "Show, export, import and verify the event log",
		Long: `Log prints the events of the log as they stand there, one a line, in the order of
their positions: those that were refused and what could not be read too, with the
reason. The log's own time decides by which clock an event was judged.

A position names a message, which may be a frame of many events; index is the place
of an event in it. The log is read from NATS, where serve listens as well.

A table cuts long ids; CSV and JSON have them whole.

A row of kind seal is no event: from there on what its partition held before end is
final (see 'holdmetrics seal'); --holder and --token leave it out.

Ids are those that were sent: the log knows of no rules, so neither do --holder and
--token. --holder reads the holder's own partition. Where somebody sent an event of that
holder to another one, it was refused: 'holdmetrics dlq list' shows it.
--follow begins at the end of the log, or at --from, and goes on until Ctrl-C.`,
		Example: `  holdmetrics log --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z
  holdmetrics log --holder alice --format csv
  holdmetrics log --follow --token GOLD
  holdmetrics log --from 812 --to 812 --format json`,
		Args: cobra.NoArgs,
	}
	connect.NATSFlags(c)
	c.AddCommand(newLogExport(), newLogImport(), newLogVerify(), newLogRepair())
	f := c.Flags()
	q.span.Flags(f)
	f.BoolVar(&q.follow, "follow", false, "go on with what comes, until Ctrl-C")
	f.StringVar(&q.holder, "holder", "", "of this holder alone")
	f.StringVar(&q.token, "token", "", "of this token alone")
	f.IntVar(&q.limit, "limit", 0, "print `N` events at most (default: all)")
	f.StringVar(&q.format, "format", "table", "table, csv or json (an object a line)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := q.check(c); err != nil {
			return err
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error { return q.run(ctx, c, log) })
	}
	return c
}

// logQuery is what log was asked for.
type logQuery struct {
	span          usage.Span
	follow        bool
	holder, token string
	limit         int
	format        string
}

func (q *logQuery) check(c *cobra.Command) error {
	for _, name := range []string{"holder", "token"} {
		if flag := c.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return usage.Errorf("--%s is empty; leave it out where it is not given", name)
		}
	}
	if q.limit < 0 || q.limit == 0 && c.Flags().Changed("limit") {
		return usage.Errorf("--limit %d: print one event at least", q.limit)
	}
	if q.holder != "" && q.span.Partition >= 0 {
		return usage.Errorf("--partition does not go with --holder, which reads the holder's own")
	}
	if q.follow && q.span.To != "" {
		return usage.Errorf("--to does not go with --follow")
	}
	if err := q.span.Check(c); err != nil {
		return err
	}
	return printing.CheckFormat(q.format)
}

func (q *logQuery) run(ctx context.Context, c *cobra.Command, log *ingest.Log) error {
	if q.holder != "" {
		q.span.Partition = ingest.Partition(q.holder, log.Partitions())
	}
	within, err := q.span.Resolve(ctx, log)
	if err != nil {
		return printing.Interrupted(err)
	}
	if within.Follow = q.follow; q.follow && q.span.From == "" {
		last, err := log.LastPosition(ctx)
		if err != nil {
			return printing.Interrupted(err)
		}
		within.From = last + 1
	}
	out, err := newLogWriter(c.OutOrStdout(), q.format, q.follow)
	if err != nil {
		return err
	}
	if q.span.Empty(within) {
		return out.flush()
	}
	for m, err := range log.Read(ctx, within) {
		if err != nil {
			if q.follow && errors.Is(err, context.Canceled) {
				return out.flush()
			}
			return errors.Join(printing.Interrupted(err), out.flush())
		}
		if ingest.IsSeal(m.Data) && q.holder == "" && q.token == "" {
			if err := out.writeSeal(ctx, log, m); err != nil {
				return printing.Interrupted(err)
			}
			if q.limit > 0 && out.rows == q.limit {
				return out.flush()
			}
		}
		for e := range m.Entries() {
			if !q.wants(&e) {
				continue
			}
			if err := out.write(log, m, &e); err != nil {
				return err
			}
			if q.limit > 0 && out.rows == q.limit {
				return out.flush()
			}
		}
		if q.follow {
			if err := out.flush(); err != nil {
				return err
			}
		}
	}
	return out.flush()
}

func (q *logQuery) wants(e *ingest.Entry) bool {
	if q.holder == "" && q.token == "" {
		return true
	}
	return e.Err == nil && (q.holder == "" || e.Draft.Holder == q.holder) && (q.token == "" || e.Draft.Token == q.token)
}
