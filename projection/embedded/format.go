package embedded

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/projection"
)

type filesystem = vfs.FS

// checkDirectory reports whether the directory is empty, and refuses one that holds
// something that is no database: a database made among somebody's files would be
// hard to take out again.
func checkDirectory(dir string, files filesystem) (fresh bool, err error) {
	names, err := files.List(dir)
	if err != nil {
		return false, fmt.Errorf("embedded: look into data directory %s: %w", dir, err)
	}
	sort.Strings(names)
	foreign := ""
	for _, name := range names {
		if strings.HasPrefix(name, "marker.manifest.") {
			return false, nil
		}
		if foreign == "" && !ownFile(name) {
			foreign = name
		}
	}
	if foreign != "" {
		return false, fmt.Errorf("%w: directory %s holds %q and no database; choose an empty directory", projection.ErrForeign, dir, foreign)
	}
	return true, nil
}

// ownFile knows the files that a database leaves that was killed while it was
// made, before its first manifest.
func ownFile(name string) bool {
	return name == "LOCK" || name == "lost+found" ||
		strings.HasPrefix(name, "marker.") || strings.HasPrefix(name, "MANIFEST-") ||
		strings.HasPrefix(name, "OPTIONS-") || strings.HasPrefix(name, "temporary.") ||
		strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".dbtmp")
}

// openError says what an operator can do about a database that does not open.
func (s *Store) openError(err error) error {
	switch {
	case strings.Contains(err.Error(), "comparer name"):
		return fmt.Errorf("%w: %s is a database of another program: %w; choose another data directory; if it was this program's and is damaged, %s", projection.ErrForeign, s.dir, err, remedy)
	case strings.Contains(err.Error(), "format major version"):
		return fmt.Errorf("%w: %s was written by a newer program: %w; use that one", projection.ErrForeign, s.dir, err)
	case pebble.IsCorruptionError(err), !isOfSystem(err):
		return corrupt("data directory "+s.dir, err)
	}
	return fmt.Errorf("embedded: open data directory %s: %w", s.dir, err)
}

// checkFormat reads the format record, and writes it where the directory is new.
//
// A database without the record and without any other key was killed between its
// making and its first write; it counts as new.
func (s *Store) checkFormat(fresh bool) error {
	key := formatKey()
	value, closer, err := s.db.Get(key)
	switch {
	case err == nil:
		defer closer.Close()
		if string(value) != formatText {
			return fmt.Errorf("%w: %s is in the format %q, this program reads %q; use the program that made it, or %s",
				projection.ErrForeign, s.dir, value, formatText, remedy)
		}
		return nil
	case !errors.Is(err, pebble.ErrNotFound):
		return s.openError(err)
	}
	if !fresh {
		empty, err := isEmpty(s.db)
		if err != nil {
			return s.openError(err)
		}
		if !empty {
			return fmt.Errorf("%w: %s has no format record; choose another data directory; if it was this program's and is damaged, %s", projection.ErrForeign, s.dir, remedy)
		}
	}
	if err := s.db.Set(key, []byte(formatText), pebble.Sync); err != nil {
		return fmt.Errorf("embedded: write to data directory %s: %w", s.dir, err)
	}
	return nil
}

// isEmpty reports whether a database has no key.
func isEmpty(db *pebble.DB) (bool, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return false, err
	}
	found := it.First()
	return !found, it.Close()
}

// Meta reads the values that were fixed.
func (s *Store) Meta(ctx context.Context) (map[string]string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.meta()
}

func (s *Store) meta() (map[string]string, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: appendEnd([]byte{kindMeta}), UpperBound: appendEnd([]byte{kindMeta + 1})})
	if err != nil {
		return nil, s.readError(err)
	}
	defer it.Close()
	values := map[string]string{}
	for it.First(); it.Valid(); it.Next() {
		value, err := parseTagged(it.Value(), "a fixed value")
		if err != nil {
			return nil, err
		}
		name, rest, err := cutID(it.Key()[1:])
		if err != nil || len(rest) > 0 {
			return nil, corrupt("the key of a fixed value", errKey)
		}
		values[name] = string(value)
	}
	return values, s.readError(it.Error())
}

// SetMeta fixes values, all of them or none.
func (s *Store) SetMeta(ctx context.Context, values map[string]string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s.metaMu.Lock()
	defer s.metaMu.Unlock()
	stored, err := s.meta()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, name := range names {
		have, ok := stored[name]
		switch {
		case !ok:
			_ = batch.Set(metaKey(name), appendTagged(nil, []byte(values[name])), nil)
		case have != values[name]:
			return &projection.MetaError{Name: name, Stored: have, Wanted: values[name]}
		}
	}
	return s.commit(batch)
}
