package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/projection"
)

// directoryName is the store of the first generation in a data directory; others
// carry their generation behind it.
const directoryName = "store"

// Directory is where a data directory keeps the store of a generation; "" is the
// first one.
func Directory(dataDir, generation string) string {
	if generation == "" {
		return filepath.Join(dataDir, directoryName)
	}
	return filepath.Join(dataDir, directoryName+"-"+generation)
}

// Generations are those of which a data directory has a store, but for the first.
func Generations(dataDir string) ([]string, error) {
	entries, err := os.ReadDir(dataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("embedded: look for stores: %w", err)
	}
	var found []string
	for _, e := range entries {
		if g, ok := strings.CutPrefix(e.Name(), directoryName+"-"); ok && e.IsDir() {
			found = append(found, g)
		}
	}
	return found, nil
}

// Remove removes the store in a directory, with the directory. One that is gone is
// no error; the error wraps [projection.ErrLocked] where somebody has it open, and
// [projection.ErrForeign] where the directory is no store's.
func Remove(dir string) error {
	o := Options{}.withDefaults()
	if _, err := o.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := checkDirectory(dir, o.fs); err != nil && !halfRemoved(dir) {
		return err
	}
	lock, err := lockDirectory(dir, o.fs)
	if err != nil {
		return err
	}
	// The mark says that what is left, should this be interrupted, is a store's.
	err = os.WriteFile(filepath.Join(dir, removing), nil, 0o600)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("embedded: remove %s: %w", dir, err)
	}
	return nil
}

// removing is the file that marks a directory whose removal has begun.
const removing = "REMOVING"

func halfRemoved(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, removing))
	return err == nil
}

// Holders walks the holders of a partition behind one.
func (s *Store) Holders(ctx context.Context, partition int, after string, fn func(*projection.HolderRecord) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	lower, upper := partitionBounds(kindHolder, partition)
	if after != "" {
		lower = afterPrefix(appendHolderKey(nil, partition, after))
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	for ok, n := it.First(), 0; ok; ok, n = it.Next(), n+1 {
		if n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		h, err := parseHolder(it.Value())
		if err != nil {
			return err
		}
		var rest []byte
		if h.Holder, rest, err = cutID(it.Key()[partitionEnd:]); err != nil || len(rest) > 0 {
			return corrupt("the key of a holder", errKey)
		}
		if err := fn(&h); err != nil {
			return err
		}
	}
	return s.readError(it.Error())
}
