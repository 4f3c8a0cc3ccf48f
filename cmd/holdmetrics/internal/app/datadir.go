package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"holdmetrics/ingest/backup"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

// The contents of a data directory:
//
//	LOCK       locked while the directory is in use
//	POLICY     and other files: what is fixed beside the log
//	nats/      the log, and the other streams
//	store/     the store; those of further generations are store-<name>/
//	backup-*/  a copy that is read by a backup
//	nats-kept/ links to the files of nats/ while the broker starts
//	restoring/ what a restore has made so far
//	damaged-*/ block files of the log that 'log repair' has taken out
const (
	NATSName      = "nats"
	DamagedName   = "damaged"
	storeName     = "store"
	RestoringName = "restoring"
)

// TidyDataDir takes out what a crash left of backups, and refuses a directory
// that a restore has not finished or a newer program has written.
func TidyDataDir(dir string) error {
	if err := checkFormat(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the data directory cannot be read: %w", err)
	}
	for _, e := range entries {
		switch {
		case e.Name() == RestoringName:
			return fmt.Errorf("a restore into the data directory %s was cut off; empty the directory, and restore again", dir)
		case e.IsDir() && strings.HasPrefix(e.Name(), backup.CopyPrefix):
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("the rest of a backup cannot be removed: %w", err)
			}
		}
	}
	return nil
}

// settingFiles are the names of the files that stand directly in a data directory.
func settingFiles(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != LockName {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// IsStore reports whether a directory of a data directory is a store, by its name.
func IsStore(name string) bool {
	return name == storeName || strings.HasPrefix(name, storeName+"-")
}

// stores are those of this process, by the names of their directories.
func (p *Server) stores() map[string]*embedded.Store {
	all := map[string]*embedded.Store{}
	for _, name := range p.Generations.Names() {
		g, err := p.Generations.Get(name)
		if err != nil {
			continue // it is just being opened, or dropped
		}
		if store, ok := g.Store.(*embedded.Store); ok {
			all[filepath.Base(embedded.Directory("", generation.Namespace(name)))] = store
		}
	}
	return all
}

// copyData copies what a backup has of the data directory beside the streams.
func (p *Server) copyData(ctx context.Context, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	names, err := settingFiles(p.settings.DataDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(p.settings.DataDir, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	for name, store := range p.stores() {
		err := store.Copy(ctx, filepath.Join(to, name))
		if errors.Is(err, projection.ErrClosed) && ctx.Err() == nil {
			// It was dropped meanwhile, or is broken: a restore makes it again from the log.
			err = os.RemoveAll(filepath.Join(to, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return CreateFile(to, in)
}

// CreateFile writes a new file; it is an error if there is one.
func CreateFile(to string, from io.Reader) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

// SyncTree syncs a directory and all files and directories below it.
func SyncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return SyncPath(path)
	})
}

// SyncPath syncs a file or a directory to disk.
func SyncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// formatName is the file in the data directory with the number of its format. A directory
// without it has format 1. A program that writes what an older one would misread writes
// the file first.
const formatName = "FORMAT"

// dataFormat is the newest format of a data directory that this program reads.
const dataFormat = 1

// checkFormat refuses a data directory that a newer program has written.
func checkFormat(dir string) error {
	path := filepath.Join(dir, formatName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the format of the data directory cannot be read: %w", err)
	}
	format, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	switch {
	case err != nil || format == 0:
		return fmt.Errorf("%s is not a number: put back the file that the data directory had", path)
	case format > dataFormat:
		return fmt.Errorf("the data directory %s has format %d, and this program reads up to %d: run the version of holdmetrics that wrote it, or a newer one", dir, format, dataFormat)
	}
	return nil
}
