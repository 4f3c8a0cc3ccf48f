package logcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
	"holdmetrics/ingest/archive"
)

func newLogExport() *cobra.Command {
	var s usage.Span
	var format string
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the log to a file",
		Long: `Export writes the log to a file, as it is when the command begins: every message
with its position, its time, its partition and its bytes, the limits under which they
came in, the horizons up to which it was sealed, and the log's id. 'log import' makes the same state of it elsewhere.

The name says the format: .ndjson (a line a message, its events in words), also with
.gz or .zst behind it, or .parquet (a row an event: times in nanoseconds, weights as
exact decimals and as doubles, packed with zstd). '-' is the standard output, NDJSON.

The file appears when it is whole, and replaces one of that name; where the command
is interrupted, nothing is left, and it is run again. A file with --from cannot be
imported as a log. NDJSON ends with the SHA-256 of its lines; the others have
checksums of their own. Dead letters are not in it: they are made again.`,
		Example: `  holdmetrics log export log.ndjson.zst
  holdmetrics log export 2026.parquet --from 2026-01-01T00:00:00Z --to 2026-12-31T23:59:59Z
  holdmetrics log export - | jq -c 'select(.partition == 3)'`,
		Args: usage.OneFile,
	}
	f := c.Flags()
	f.StringVar(&s.From, "from", "", "begin here: "+usage.SpanHelp)
	f.StringVar(&s.To, "to", "", "end here, this included: "+usage.SpanHelp)
	f.StringVar(&format, "format", "", "ndjson or parquet (default: by the name)")
	c.RunE = func(c *cobra.Command, args []string) error {
		s.Partition = -1
		if err := s.Check(c); err != nil {
			return err
		}
		form, err := archive.FormatOf(args[0], archive.Format(format))
		if err != nil {
			return usage.Wrap(err)
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error { return export(ctx, c, log, &s, args[0], form) })
	}
	return c
}

func export(ctx context.Context, c *cobra.Command, log *ingest.Log, s *usage.Span, name string, format archive.Format) error {
	began := time.Now()
	within, err := s.Resolve(ctx, log)
	if err != nil {
		return printing.Interrupted(err)
	}
	last, err := log.LastPosition(ctx)
	if err != nil {
		return printing.Interrupted(err)
	}
	if within.From = max(within.From, 1); s.To == "" || within.To > last {
		within.To = last
	}
	if within.From > within.To {
		return errors.New("there is nothing to export: no position of the log is in that range")
	}
	origin, err := log.Origin(ctx, within.To)
	if err != nil {
		return printing.Interrupted(err)
	}
	w, err := archive.Create(name, format, archive.Header{Origin: origin, From: within.From})
	if err != nil {
		return err
	}
	bar := printing.NewCountBar(c, "exporting", int64(within.To-within.From+1))
	var messages int64
	for m, err := range log.Read(ctx, within) {
		if err == nil && m.Position != within.From+uint64(messages) {
			err = fmt.Errorf("position %d of the log is missing; 'holdmetrics log verify' says more", within.From+uint64(messages))
		}
		if err == nil {
			err = w.Write(m)
		}
		if err != nil {
			bar.Clear()
			w.Abort()
			return printing.Interrupted(err)
		}
		messages++
		bar.Add(1)
	}
	bar.Clear()
	if err := w.Close(); err != nil {
		return err
	}
	if name == "-" {
		return nil
	}
	out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "log\t%s\npositions\t%d to %d\nmessages\t%d\nseconds\t%.2f\n", log.ID(), within.From, within.To, messages, time.Since(began).Seconds())
	return out.Flush()
}

func newLogImport() *cobra.Command {
	var replicas int
	var edited bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Fill an empty log from a file of 'log export'",
		Long: `Import fills an empty log with an exported one: the same positions, the same times,
the same limits and horizons, so that whatever was accepted or refused is so again, and the state
that follows is the same. The log keeps an id of its own.

The log may be that of a serve, or of gateways and workers, that nobody has sent
anything to; a missing stream is made, with --replicas. While the import fills it
nobody else can publish to it, and nothing of it is applied; what starts meanwhile
waits. An import that was interrupted is run again with the same file, and carries on.

The file is read to its end first, and refused where it was cut off, damaged or edited,
before anything is written; so it must be a file, and not a pipe. If you have edited
NDJSON on purpose says --edited: then its lines need not have the SHA-256 that it ends
with (nor its last line have one), while everything else is checked.

What comes after the import is judged by the limits that the log had before.`,
		Example: `  holdmetrics log import log.ndjson.zst
  holdmetrics log import log.parquet --nats-url nats://n1,nats://n2,nats://n3 --replicas 3`,
		Args: usage.OneFile,
	}
	c.Flags().IntVar(&replicas, settings.KeyReplicas, 1, "replicas of the log where it is made: 3 on a cluster")
	c.Flags().BoolVar(&edited, "edited", false, "the file, NDJSON, was edited on purpose")
	c.RunE = func(c *cobra.Command, args []string) error {
		if replicas < 1 || replicas > 5 {
			return usage.Errorf("--%s %d is not a number from 1 to 5", settings.KeyReplicas, replicas)
		}
		if err := checkExport(c, args[0], edited); err != nil {
			return err
		}
		r, err := archive.Open(args[0])
		if err != nil {
			return err
		}
		if edited {
			r.TakeEdited()
		}
		err = connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error { return importLog(ctx, c, js, r, replicas) })
		return errors.Join(err, r.Close())
	}
	return c
}

// checkExport reads a file to its end, since what is written to a log stays there.
func checkExport(c *cobra.Command, name string, edited bool) error {
	info, err := os.Stat(name)
	if name == "-" || err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file; an import reads it twice, so that nothing of a damaged one gets into the log: write it to a file first", name)
	}
	if err != nil {
		return err
	}
	r, err := archive.Open(name)
	if err != nil {
		return err
	}
	h := r.Header()
	if err := r.Close(); err != nil {
		return err
	}
	if !h.Whole() {
		return fmt.Errorf("the file has positions %d to %d: a part of a log, which cannot become a log, since what came before decides too; export it without --from", h.From, h.Origin.Through)
	}
	bar := printing.NewCountBar(c, "checking", int64(h.Origin.Through))
	defer bar.Clear()
	err = archive.Verify(name, edited, func() error { bar.Add(1); return c.Context().Err() })
	switch {
	case errors.Is(err, archive.ErrEdited):
		return fmt.Errorf("%s: %w; take another copy, or say --edited where it was on purpose", name, err)
	case err != nil:
		return fmt.Errorf("%s: %w; nothing was imported", name, printing.Interrupted(err))
	}
	return nil
}

func importLog(ctx context.Context, c *cobra.Command, js jetstream.JetStream, r *archive.Reader, replicas int) error {
	began := time.Now()
	h := r.Header()
	i, err := ingest.BeginImport(ctx, js, h.Origin, replicas)
	if err != nil {
		return printing.Interrupted(err)
	}
	defer i.Close()
	bar := printing.NewCountBar(c, "importing", int64(h.Origin.Through))
	log, err := addAll(ctx, i, r, bar)
	bar.Clear()
	if err != nil {
		return fmt.Errorf("%w; the log stays shut until the import is finished: run it again with a whole file, and it carries on", printing.Interrupted(err))
	}
	out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "log\t%s\nof log\t%s\nmessages\t%d\nthere before\t%d\nseconds\t%.2f\n",
		log.ID(), h.Origin.LogID, h.Origin.Through, i.There(), time.Since(began).Seconds())
	return out.Flush()
}

func addAll(ctx context.Context, i *ingest.Import, r *archive.Reader, bar *printing.Progress) (*ingest.Log, error) {
	for m, err := range r.Messages() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return nil, errors.Join(err, i.Wait(ctx)) // so that what it says is there is there
		}
		if err := i.Add(ctx, m); err != nil {
			return nil, err
		}
		bar.Add(1)
	}
	return i.Finish(ctx)
}
