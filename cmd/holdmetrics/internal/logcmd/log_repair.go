package logcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/ingest/repair"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

// repairAsk holds the flags of log repair.
type repairAsk struct {
	dir, from  string
	acceptLoss bool
	settings   bool
}

// reportOnly reports whether nothing is to be changed.
func (q *repairAsk) reportOnly() bool { return q.from == "" && !q.acceptLoss }

// errLost is the end of a command that only reports, if something is lost.
var errLost = errors.New("the log has lost messages: name a backup of it with --from, or accept the loss with --accept-loss")

func newLogRepair() *cobra.Command {
	var q repairAsk
	c := &cobra.Command{
		Use:   "repair",
		Short: "Find what the log has lost, and repair it",
		Long: `Repair reads the whole log, compares it with what was made from it, and prints what
is lost: positions whose messages are missing or cannot be read, and positions that
were applied and that the log does not have, or has other messages at. If something
is lost it ends with 1, and changes nothing.

--from names a backup of this log. What it has of the lost messages is sent again, at
the end of the log: the order of events does not matter, and an event that was
applied already counts once. --accept-loss accepts the rest as lost. The settings
of the log name the positions from then on, 'holdmetrics log repair' and /status show
them, and readers pass over them.

With --settings it only puts back the settings of the log that somebody has changed,
such as a limit by which events are deleted. serve does so by itself.

Stop serve first, and give its --data-dir: then the log is compared with the store
too. A log on a NATS cluster is compared with the snapshots; stop gateways and
workers meanwhile. Then start everything again.`,
		Example: `  holdmetrics log repair --data-dir data
  holdmetrics log repair --data-dir data --from holds.backup
  holdmetrics log repair --data-dir data --from holds.backup --accept-loss`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&q.dir, settings.KeyDataDir, "", "data `directory` of a server that does not run")
	f.StringVar(&q.from, "from", "", "send again what this `backup` has of it")
	f.BoolVar(&q.acceptLoss, "accept-loss", false, "accept as lost what no backup has")
	f.BoolVar(&q.settings, "settings", false, "put the settings of the log back, of a broker that runs")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case q.settings && (q.dir != "" || !q.reportOnly()):
			return usage.Errorf("--settings is given alone: the broker runs meanwhile")
		case q.settings:
			return restoreSettings(c)
		case f.Changed(settings.KeyDataDir) && q.dir == "", f.Changed("from") && q.from == "":
			return usage.Errorf("a flag is empty; leave it out where it is not given")
		case q.dir != "" && c.Flags().Changed(settings.KeyNATSURL):
			return usage.Errorf("give --%s of what runs, or --%s of what does not", settings.KeyNATSURL, settings.KeyDataDir)
		case q.dir != "":
			return q.inDirectory(c)
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			witnesses, err := published(ctx, log)
			if err != nil {
				return printing.Interrupted(err)
			}
			return q.run(ctx, c, log, witnesses)
		})
	}
	return c
}

// restoreSettings puts the settings of the log back.
func restoreSettings(c *cobra.Command) error {
	return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		names, err := ingest.RestoreLogSettings(ctx, js, nil)
		if len(names) > 0 {
			_, failed := fmt.Fprintf(c.OutOrStdout(), "put back\t%s\n", strings.Join(names, ", "))
			return errors.Join(err, failed)
		}
		if err == nil {
			_, err = fmt.Fprintln(c.OutOrStdout(), "the settings of the log are as they should be")
		}
		return err
	})
}

// inDirectory repairs the log of a data directory.
func (q *repairAsk) inDirectory(c *cobra.Command) (err error) {
	if info, err := os.Stat(filepath.Join(q.dir, app.NATSName)); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a data directory: it has no log", q.dir)
	}
	lock, err := app.LockDataDir(q.dir)
	if err != nil {
		return fmt.Errorf("%w; stop the server that uses it", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := app.TidyDataDir(q.dir); err != nil {
		return err
	}
	if err := q.cutBlocks(c); err != nil {
		return err
	}
	b, err := app.StartPrivateBroker(filepath.Join(q.dir, app.NATSName), printing.NewLogger(c.ErrOrStderr(), zap.ErrorLevel))
	if err != nil {
		return err
	}
	defer b.Close()
	log, err := findLog(c.Context(), b.Conn)
	if err != nil {
		return err
	}
	witnesses, err := checkpoints(c, q.dir, log)
	if err == nil && len(witnesses) == 0 {
		witnesses, err = published(c.Context(), log)
	}
	if err != nil {
		return printing.Interrupted(err)
	}
	return q.run(c.Context(), c, log, witnesses)
}

// cutBlocks has the broker read what can be read of blocks that it cannot read whole.
func (q *repairAsk) cutBlocks(c *cobra.Command) error {
	if err := app.CheckLogSettings(q.dir); err != nil {
		return err
	}
	bad, err := app.BadBlocks(q.dir)
	if err != nil {
		return err
	}
	keep := filepath.Join(q.dir, app.DamagedName+"-"+time.Now().UTC().Format("20060102T150405Z"))
	for _, b := range bad {
		if q.reportOnly() {
			fmt.Fprintf(c.ErrOrStderr(), "block %s of the log cannot be read whole\n", b.Name)
			continue
		}
		if err := b.Cut(keep); err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "block %s of the log cannot be read whole: it was moved to %s, and what can be read of it is in its place\n", b.Name, keep)
	}
	if len(bad) > 0 && q.reportOnly() {
		return errLost
	}
	return nil
}

func findLog(ctx context.Context, conn *nats.Conn) (*ingest.Log, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return ingest.FindLog(ctx, js)
}

// published are the positions of the snapshots of all generations.
func published(ctx context.Context, log *ingest.Log) (witnesses []repair.Witness, err error) {
	js := log.JetStream()
	for name := range js.KeyValueStoreNames(ctx).Name() {
		generation, ok := projection.GenerationOfBucket(name)
		if !ok {
			continue
		}
		all, err := projection.ReadPositions(ctx, js, generation, log.Partitions())
		if err != nil {
			return nil, err
		}
		for _, at := range all {
			witnesses = append(witnesses, repair.Witness{Anchor: ingest.Anchor{Position: at.Position}, LogTime: at.LogTime})
		}
	}
	return witnesses, nil
}

// checkpoints are those of the stores of a data directory that were made from the log. A
// store that cannot be opened says nothing.
func checkpoints(c *cobra.Command, dir string, log *ingest.Log) (witnesses []repair.Witness, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || !app.IsStore(e.Name()) {
			continue
		}
		some, err := checkpointsOf(c.Context(), filepath.Join(dir, e.Name()), log)
		if err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s is left out: %v\n", e.Name(), err)
			continue
		}
		witnesses = append(witnesses, some...)
	}
	return witnesses, nil
}

func checkpointsOf(ctx context.Context, dir string, log *ingest.Log) (witnesses []repair.Witness, err error) {
	store, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for p := range log.Partitions() {
		at, found, err := store.Checkpoint(ctx, p)
		if err != nil {
			return nil, err
		}
		if found && at.LogID == log.ID() {
			witnesses = append(witnesses, repair.Witness{Anchor: ingest.Anchor{Position: at.Position, Hash: at.Hash}, LogTime: at.LogTime})
		}
	}
	return witnesses, nil
}

// run reports what is lost, and repairs it where that was asked for.
func (q *repairAsk) run(ctx context.Context, c *cobra.Command, log *ingest.Log, witnesses []repair.Witness) error {
	report, err := repair.Find(ctx, log, witnesses)
	if err != nil {
		return printing.Interrupted(err)
	}
	if err := tellReport(c.OutOrStdout(), report); err != nil {
		return err
	}
	if len(report.Lost) == 0 {
		return nil
	}
	if q.reportOnly() {
		return errLost
	}
	o := repair.Options{AcceptLoss: q.acceptLoss, Now: time.Now()}
	var done repair.Result
	err = q.withBackup(c, log.ID(), func(source *ingest.Log) error {
		if source != nil {
			o.Source = source
		}
		done, err = repair.Repair(ctx, log, report, o)
		return err
	})
	if err != nil {
		return printing.Interrupted(err)
	}
	out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "restored\t%s\nsent again\t%s\nfilled\t%s\nlost\t%s\n",
		printing.Counted(int64(done.Restored), "message", "messages"), printing.Counted(int64(done.Moved), "message that had taken a lost position", "messages that had taken lost positions"),
		printing.Counted(int64(done.Filled), "position", "positions"), printing.Counted(int64(done.Lost), "message", "messages"))
	return out.Flush()
}

// tellReport prints what is lost.
func tellReport(to io.Writer, r *repair.Report) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "log\t%s\nlast position\t%d\n", r.LogID, r.Last)
	if r.Applied != 0 {
		fmt.Fprintf(out, "applied up to\t%d\n", r.Applied)
	}
	for _, s := range r.Accepted {
		fmt.Fprintf(out, "accepted as lost\t%s, on %s, %d restored\n", s.Span, s.At.Format(time.RFC3339), s.Restored)
	}
	for _, s := range r.Lost {
		fmt.Fprintf(out, "lost\t%s\n", s)
	}
	if r.Replaced.First != 0 {
		fmt.Fprintf(out, "taken by later messages\t%s\n", r.Replaced)
	}
	if len(r.Lost) == 0 {
		fmt.Fprintln(out, "lost\tnothing")
	}
	return out.Flush()
}

// withBackup calls f with the log of a backup, restored to a temporary directory, or with
// nil if none was named.
func (q *repairAsk) withBackup(c *cobra.Command, id string, f func(source *ingest.Log) error) (err error) {
	if q.from == "" {
		return f(nil)
	}
	file, err := os.Open(q.from)
	if err != nil {
		return err
	}
	defer file.Close()
	m, err := backup.Verify(c.Context(), bufio.NewReaderSize(file, 1<<20), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", q.from, err)
	}
	if m.LogID != id {
		return fmt.Errorf("%s: %w: %s, not %s", q.from, repair.ErrForeign, m.LogID, id)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "holdmetrics-repair-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := app.StartPrivateBroker(dir, printing.NewLogger(c.ErrOrStderr(), zap.ErrorLevel))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := backup.Restore(c.Context(), bufio.NewReaderSize(file, 1<<20), m, logTarget{c.Context(), b.Conn}, nil); err != nil {
		return fmt.Errorf("%s: %w", q.from, err)
	}
	source, err := findLog(c.Context(), b.Conn)
	if err != nil {
		return err
	}
	return f(source)
}

// logTarget takes the event log of a backup.
type logTarget struct {
	ctx  context.Context
	conn *nats.Conn
}

// File implements backup.Target: files are not needed.
func (logTarget) File(backup.File, io.Reader) error { return nil }

// Stream implements backup.Target.
func (t logTarget) Stream(s backup.Stream, from io.Reader) error {
	if s.Name != ingest.StreamName {
		return nil
	}
	return backup.RestoreStream(t.ctx, t.conn, s, 1, from)
}
