package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"holdmetrics/ingest/transparency"
	"holdmetrics/processor/generation"
)

// backupStreams are what is copied, the log last, so that nothing is ahead of it.
// Snapshots are not among them: they are made again from the store.
var backupStreams = []string{"KV_" + generation.Bucket, ingest.DeadLetterStream, "KV_" + transparency.Bucket, ingest.StreamName}

func newBackup() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the log and the store into one file",
		Long: `Backup copies the event log, the dead letters and the record of generations into
a file, and of 'holdmetrics serve' the settings that are fixed with the data
directory, and the store. Everything goes on meanwhile. What was acknowledged
when the backup began is in it, and nothing in it is ahead of its log. Snapshots
are not in it; they are made again.

With --data-dir it is the data directory of a server that does not run.

Of several processes on a NATS cluster it copies the log, from which workers make
everything again. For a quicker start dump the database BEFORE the backup
(mongodump): then the log of the backup has all that the dump was made of.

FILE must not exist; it appears when it is whole. It ends with the SHA-256 of
every byte before it, so that one changed bit, a missing end or anything behind it
is found, by 'holdmetrics backup verify' and before a restore. 'holdmetrics
restore' makes a data directory, or the streams of a cluster, of it.`,
		Example: `  holdmetrics backup holds-2026-11-24.backup
  holdmetrics backup holds.backup --nats-url nats://n1,nats://n2,nats://n3
  holdmetrics backup holds.backup --data-dir /var/lib/holdmetrics
  holdmetrics backup verify holds.backup`,
		Args: oneBackup,
	}
	connect.NATSServerFlags(c)
	dir := c.Flags().String(settings.KeyDataDir, "", "data `directory` of a server that does not run")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		var write func(*backup.Writer) error
		switch {
		case c.Flags().Changed(settings.KeyDataDir) && c.Flags().Changed(settings.KeyNATSURL):
			return usage.Errorf("give --%s of what runs, or --%s of what does not", settings.KeyNATSURL, settings.KeyDataDir)
		case c.Flags().Changed(settings.KeyDataDir):
			write = func(w *backup.Writer) error { return backupStopped(c, *dir, w) }
		default:
			write = func(w *backup.Writer) error { return backupRunning(c, w) }
			defer func() {
				if err == nil {
					noteBackup(c)
				}
			}()
		}
		return makeBackup(c, args[0], write)
	}
	verify := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a backup can be restored",
		Long: `Verify reads every byte of a backup, and compares it with the checksums. Then it
restores the backup to a temporary directory, which needs as much room as the
data (TMPDIR names another place), and reads every message of every stream there.
The directory is removed at the end.

It ends with 1 where a byte is not as it was written, or a message is missing or
cannot be read, since the log was damaged when the backup was made.`,
		Args: oneBackup,
		RunE: func(c *cobra.Command, args []string) error {
			m, err := verifyBackup(c, args[0])
			if err != nil {
				return err
			}
			if err := tryRestore(c, args[0], m); err != nil {
				return fmt.Errorf("%s: %w", args[0], printing.Interrupted(err))
			}
			return tellBackup(printing.SafeText(c.OutOrStdout()), m, "")
		},
	}
	c.AddCommand(verify)
	return c
}

func oneBackup(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("name the file of the backup")
	}
	return nil
}

// makeBackup writes a backup to a file, which appears when it is whole.
func makeBackup(c *cobra.Command, name string, write func(*backup.Writer) error) (err error) {
	began := time.Now()
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%s exists; a backup replaces nothing, choose another name", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			err = printing.Interrupted(errors.Join(err, os.Remove(f.Name())))
		}
	}()
	bar := printing.NewBar(c, "copying", -1)
	m, err := writeBackup(f, bar.Add, write)
	bar.Clear()
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if err := app.SyncPath(filepath.Dir(name)); err != nil {
		return err
	}
	return tellBackup(printing.SafeText(c.OutOrStdout()), m, fmt.Sprintf("seconds\t%.2f\n", time.Since(began).Seconds()))
}

func writeBackup(to io.Writer, wrote func(int), write func(*backup.Writer) error) (*backup.Manifest, error) {
	buf := bufio.NewWriterSize(to, 1<<20)
	w, err := backup.NewWriter(buf, version(), time.Now(), wrote)
	if err != nil {
		return nil, err
	}
	if err := write(w); err != nil {
		return nil, err
	}
	m, err := w.Close()
	return m, errors.Join(err, buf.Flush())
}

// backupRunning copies what runs at an address.
func backupRunning(c *cobra.Command, w *backup.Writer) error {
	ctx, conn, err := connect.DialNATS(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := w.AddServer(ctx, conn.Conn)
	if err != nil {
		return conn.Why(err)
	}
	if !found && conn.ConnectedServerName() == app.BrokerName {
		return conn.Why(fmt.Errorf("the server at %s does not give its store; it starts, or stops, or is of an older version: try again, or stop it and give --%s", conn.Servers, settings.KeyDataDir))
	}
	return conn.Why(addStreams(ctx, conn.Conn, w))
}

// noteBackup tells what runs that its backup is complete. Where that is not permitted,
// the backup is none the worse.
func noteBackup(c *cobra.Command) {
	err := func() error {
		ctx, conn, err := connect.DialNATS(c)
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(ctx, noteWithin)
		defer cancel()
		js, err := jetstream.New(conn.Conn)
		if err != nil {
			return err
		}
		return conn.Why(backup.SetLast(ctx, js, generation.Bucket, time.Now()))
	}()
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "holdmetrics: the servers do not know of this backup, and their metric of the last one is not right: %v\n", err)
	}
}

// noteWithin bounds noteBackup.
const noteWithin = 5 * time.Second

func addStreams(ctx context.Context, conn *nats.Conn, w *backup.Writer) error {
	for _, name := range backupStreams {
		if err := w.AddStream(ctx, conn, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return nil
}

// backupStopped copies the data directory of a server that does not run.
func backupStopped(c *cobra.Command, dir string, w *backup.Writer) error {
	if info, err := os.Stat(filepath.Join(dir, app.NATSName)); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a data directory: it has no log", dir)
	}
	lock, err := app.LockDataDir(dir)
	if err != nil {
		return fmt.Errorf("%w; a server that runs is backed up without --%s", err, settings.KeyDataDir)
	}
	defer lock.Close()
	if err := app.TidyDataDir(dir); err != nil {
		return err
	}
	if err := addDataDir(c.Context(), dir, w); err != nil {
		return err
	}
	b, err := app.StartPrivateBroker(filepath.Join(dir, app.NATSName), printing.NewLogger(c.ErrOrStderr(), zap.WarnLevel))
	if err != nil {
		return err
	}
	defer b.Close()
	return addStreams(c.Context(), b.Conn, w)
}

// addDataDir copies the files and the stores of a data directory.
func addDataDir(ctx context.Context, dir string, w *backup.Writer) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case e.Type().IsRegular() && e.Name() == app.LockName, e.IsDir() && !app.IsStore(e.Name()), !e.IsDir() && !e.Type().IsRegular():
			continue
		}
		err := filepath.WalkDir(filepath.Join(dir, e.Name()), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || e.Name() == app.LockName || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			return w.AddFile(filepath.ToSlash(name), info.Size(), f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tryRestore restores a backup to a temporary directory, and reads what is there.
func tryRestore(c *cobra.Command, name string, m *backup.Manifest) (err error) {
	dir, err := os.MkdirTemp("", "holdmetrics-verify-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return fillDataDir(c, name, m, dir)
}

// verifyBackup reads a backup to its end.
func verifyBackup(c *cobra.Command, name string) (*backup.Manifest, error) {
	f, size, err := openBackup(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bar := printing.NewBar(c, "verifying", size)
	defer bar.Clear()
	m, err := backup.Verify(c.Context(), bufio.NewReaderSize(f, 1<<20), bar.Add)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, printing.Interrupted(err))
	}
	return m, nil
}

func openBackup(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, backup.ErrNotABackup)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// tellBackup says what is in a backup.
func tellBackup(to io.Writer, m *backup.Manifest, more string) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "made\t%s by holdmetrics %s\n", m.Created.Format(time.RFC3339), m.Program)
	if m.Version < 2 {
		fmt.Fprintln(out, "format\t1, which does not end with the SHA-256 of all of it: not every change of its settings is found")
	}
	fmt.Fprintf(out, "log\t%s\n", m.LogID)
	for _, s := range m.Streams {
		fmt.Fprintf(out, "%s\t%s, the last is %d\n", s.Name, printing.Counted(int64(s.Messages), "message", "messages"), s.Last)
	}
	type part struct {
		files int64
		bytes int64
	}
	parts, names := map[string]*part{}, []string{}
	for _, f := range m.Files {
		name, _, _ := strings.Cut(f.Name, "/")
		if parts[name] == nil {
			parts[name] = &part{}
			names = append(names, name)
		}
		parts[name].files++
		parts[name].bytes += f.Size
	}
	for _, name := range names {
		fmt.Fprintf(out, "%s\t%s, %d bytes\n", name, printing.Counted(parts[name].files, "file", "files"), parts[name].bytes)
	}
	if len(names) == 0 {
		fmt.Fprintln(out, "store\tnone: it is made again from the log")
	}
	fmt.Fprintf(out, "bytes\t%d\n%s", m.Bytes(), more)
	return out.Flush()
}
