package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
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
	"holdmetrics/ingest/backup"
)

func newRestore() *cobra.Command {
	c := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Restore a backup into a directory or a cluster",
		Long: `Restore verifies a backup, and then makes of it the data directory of a server,
which must be empty or not exist, or, with --nats-url, the streams of a NATS
cluster that has none of them. A cluster's gateways and workers must not run
meanwhile, since they would make a new log. --replicas says how many copies of
each stream the cluster keeps; else it is as many as there were.`,
		Example: `  holdmetrics restore holds.backup --data-dir data
  holdmetrics restore holds.backup --nats-url nats://n1,nats://n2,nats://n3 --replicas 3`,
		Args: oneBackup,
	}
	connect.NATSServerFlags(c)
	c.Flags().Lookup(settings.KeyNATSURL).Usage = "`URL` of the NATS servers that get the streams; several with commas"
	dir := c.Flags().String(settings.KeyDataDir, "", "data `directory` to make")
	replicas := c.Flags().Int(settings.KeyReplicas, 0, "replicas of the streams; 0: as there were")
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().Changed(settings.KeyNATSURL) == (*dir != "") {
			return usage.Errorf("say where to: --%s for a server, or --%s for a cluster", settings.KeyDataDir, settings.KeyNATSURL)
		}
		if *replicas < 0 || *replicas > 5 || *dir != "" && *replicas > 1 {
			return usage.Errorf("--%s %d is not from 1 to 5, or is for a data directory, which has one", settings.KeyReplicas, *replicas)
		}
		began := time.Now()
		m, err := verifyBackup(c, args[0])
		if err != nil {
			return err
		}
		if *dir != "" {
			err = restoreDataDir(c, args[0], m, *dir)
		} else {
			err = restoreCluster(c, args[0], m, *replicas)
		}
		if err != nil {
			return printing.Interrupted(err)
		}
		return tellBackup(c.OutOrStdout(), m, fmt.Sprintf("seconds\t%.2f\n", time.Since(began).Seconds()))
	}
	return c
}

// unpack gives what a backup has to a target.
func unpack(c *cobra.Command, name string, m *backup.Manifest, to backup.Target) error {
	f, size, err := openBackup(name)
	if err != nil {
		return err
	}
	defer f.Close()
	bar := printing.NewBar(c, "restoring", size)
	defer bar.Clear()
	return backup.Restore(c.Context(), bufio.NewReaderSize(f, 1<<20), m, to, bar.Add)
}

// restoreDataDir makes a data directory. Everything is made in a directory within
// it first, so that a disk that is mounted there will do, and is moved up when it
// is whole and synced. While that directory is there, no server starts.
func restoreDataDir(c *cobra.Command, name string, m *backup.Manifest, dir string) (err error) {
	lock, err := app.LockDataDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := checkEmpty(dir); err != nil {
		return err
	}
	within := filepath.Join(dir, app.RestoringName)
	if err := os.RemoveAll(within); err != nil {
		return err
	}
	if err := os.Mkdir(within, 0o700); err != nil {
		return err
	}
	moving := false
	defer func() {
		if err != nil && !moving {
			err = errors.Join(err, os.RemoveAll(within))
		}
	}()
	if err := fillDataDir(c, name, m, within); err != nil {
		return err
	}
	if err := app.SyncTree(within); err != nil {
		return fmt.Errorf("what was restored cannot be synced to disk: %w", err)
	}
	moving = true
	entries, err := os.ReadDir(within)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(within, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("the restore stopped half-way; empty %s and try again: %w", dir, err)
		}
	}
	if err := app.SyncPath(dir); err != nil {
		return err
	}
	return errors.Join(os.Remove(within), app.SyncPath(dir))
}

// checkEmpty refuses a directory that has anything but a lock and the rest of a
// restore.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case app.LockName, app.RestoringName, "lost+found":
		default:
			return fmt.Errorf("%s is not empty (it has %s); a restore replaces nothing, choose another directory with --%s", dir, e.Name(), settings.KeyDataDir)
		}
	}
	return nil
}

func fillDataDir(c *cobra.Command, name string, m *backup.Manifest, dir string) error {
	b, err := app.StartPrivateBroker(filepath.Join(dir, app.NATSName), printing.NewLogger(c.ErrOrStderr(), zap.ErrorLevel))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := unpack(c, name, m, &dataDirTarget{c.Context(), dir, b.Conn}); err != nil {
		return err
	}
	return backup.CheckRestored(c.Context(), b.Conn, m)
}

// dataDirTarget makes a data directory.
type dataDirTarget struct {
	ctx  context.Context
	dir  string
	conn *nats.Conn
}

func (t *dataDirTarget) File(f backup.File, from io.Reader) error {
	// Verify has checked that the name stays within; this keeps it out of what is not its own.
	if first, _, _ := strings.Cut(f.Name, "/"); first == app.NATSName || first == app.LockName || first == app.RestoringName {
		return fmt.Errorf("%w: it has a file %s", backup.ErrDamaged, f.Name)
	}
	if err := os.MkdirAll(filepath.Join(t.dir, filepath.FromSlash(path.Dir(f.Name))), 0o700); err != nil {
		return err
	}
	return app.CreateFile(filepath.Join(t.dir, filepath.FromSlash(f.Name)), from)
}

func (t *dataDirTarget) Stream(s backup.Stream, from io.Reader) error {
	return backup.RestoreStream(t.ctx, t.conn, s, 1, from)
}

// restoreCluster makes the streams of a cluster: all of them, or none.
func restoreCluster(c *cobra.Command, name string, m *backup.Manifest, replicas int) error {
	within, conn, err := connect.DialNATS(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.SetContext(within)
	js, err := jetstream.New(conn.Conn)
	if err != nil {
		return err
	}
	for _, s := range m.Streams {
		_, err := js.Stream(c.Context(), s.Name)
		if err == nil {
			return fmt.Errorf("stream %s exists at %s; a restore replaces nothing: take another cluster, or, once you are sure, remove it with 'nats stream rm %s'", s.Name, conn.Servers, s.Name)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return conn.Why(fmt.Errorf("looking for stream %s: %w", s.Name, err))
		}
	}
	t := &clusterTarget{ctx: c.Context(), conn: conn.Conn, replicas: replicas}
	if err = unpack(c, name, m, t); err == nil {
		err = backup.CheckRestored(c.Context(), conn.Conn, m)
	}
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), time.Minute)
	defer cancel()
	for _, made := range t.made {
		if undo := js.DeleteStream(ctx, made); undo != nil {
			err = errors.Join(err, fmt.Errorf("stream %s, which was restored, could not be removed again: %w", made, undo))
		}
	}
	return err
}

// clusterTarget makes streams; files are of a server's data directory.
type clusterTarget struct {
	ctx      context.Context
	conn     *nats.Conn
	replicas int
	made     []string
}

func (t *clusterTarget) File(backup.File, io.Reader) error { return nil }

func (t *clusterTarget) Stream(s backup.Stream, from io.Reader) error {
	err := backup.RestoreStream(t.ctx, t.conn, s, t.replicas, from)
	if err == nil {
		t.made = append(t.made, s.Name)
	}
	return err
}
