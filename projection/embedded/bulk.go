package embedded

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A large flush is written as tables, which the database takes in as they are, all
// of them in one step: pairs, holders and the checkpoint are there, or none of
// them is, as with a batch. What it saves is the way of a batch: the log of
// writes, the memtable, the table that the memtable becomes, and in a replay into
// an empty store the compactions after it, since a table that overlaps no other
// one goes to the lowest level at once.
//
// Tables are fsynced before they are taken in. They are written beside the
// database's own files, under names that it does not look at; what a crash leaves
// of them is removed when the store is opened.
const (
	// defaultBulkBytes is from which size on a flush is large. Below it the fsyncs
	// of the tables cost more than they save.
	defaultBulkBytes = 8 << 20
	// tableBytes is about how large a table becomes, so that compactions have more
	// than one.
	tableBytes = 32 << 20

	bulkPrefix = "bulk-"
)

// bulk writes what one flush changes into tables. Keys come in order within a kind.
type bulk struct {
	store *Store
	paths []string
	kind  byte
	table *sstable.Writer
	bytes int // put into table
}

func (t *bulk) Set(key, value []byte) error {
	if err := t.turn(key, len(value)); err != nil {
		return err
	}
	return t.table.Set(key, value)
}

func (t *bulk) Delete(key []byte) error {
	if err := t.turn(key, 0); err != nil {
		return err
	}
	return t.table.Delete(key)
}

// turn begins a new table where the key is of another kind, which lies far away,
// or the table is full.
func (t *bulk) turn(key []byte, value int) error {
	if t.table != nil && (t.kind != key[0] || t.bytes >= tableBytes) {
		if err := t.finish(); err != nil {
			return err
		}
	}
	t.bytes += len(key) + value
	if t.table != nil {
		return nil
	}
	path := t.store.files.PathJoin(t.store.dir, fmt.Sprintf("%s%d.sst", bulkPrefix, t.store.tables.Add(1)))
	file, err := t.store.files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	t.paths, t.kind, t.bytes = append(t.paths, path), key[0], len(key)+value
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: t.store.options.BytesPerSync})
	t.table = sstable.NewWriter(objstorageprovider.NewFileWritable(file), t.store.options.MakeWriterOptions(0, t.store.db.TableFormat()))
	return nil
}

// finish writes the rest of the table and fsyncs it.
func (t *bulk) finish() error {
	if t.table == nil {
		return nil
	}
	table := t.table
	t.table = nil
	return table.Close()
}

// drop removes what is left of the tables.
func (t *bulk) drop() {
	_ = t.finish()
	for _, path := range t.paths {
		_ = t.store.files.Remove(path) // Open tries again
	}
}

// flushBulk writes a large flush. After an error the previous state is whole.
func (s *Store) flushBulk(ctx context.Context, b *projection.Batch) error {
	pairs, holders := b.Pairs, b.Holders
	if !slices.IsSortedFunc(pairs, comparePairs) {
		pairs = slices.SortedFunc(slices.Values(pairs), comparePairs)
	}
	if !slices.IsSortedFunc(holders, compareHolders) {
		holders = slices.SortedFunc(slices.Values(holders), compareHolders)
	}
	sorted := projection.Batch{Partition: b.Partition, Pairs: pairs, Holders: holders, Checkpoint: b.Checkpoint}
	tables := &bulk{store: s}
	w := batchWriter{store: s, to: tables, partition: b.Partition}
	err := w.write(ctx, &sorted)
	if err == nil {
		err = tables.finish()
	}
	if err != nil {
		tables.drop()
		if ctx.Err() != nil || errors.Is(err, projection.ErrBatch) || errors.Is(err, projection.ErrCorrupt) {
			return err
		}
		return fmt.Errorf("embedded: write to data directory %s: %w", s.dir, err)
	}
	if err := s.health.ingest(context.WithoutCancel(ctx), s.db, tables.paths); err != nil {
		if !s.health.broken.Load() {
			tables.drop()
		}
		return s.fail(err)
	}
	return nil
}

func comparePairs(a, b projection.PairChange) int { return a.Key.Compare(b.Key) }

func compareHolders(a, b projection.HolderRecord) int { return strings.Compare(a.Holder, b.Holder) }

// comparePages is the order of two pages' keys within their pair, lengths behind
// them included.
func comparePages(a, b *hold.Page) int {
	n := min(len(a.Key), len(b.Key))
	if c := bytes.Compare(a.Key[:n], b.Key[:n]); c != 0 || len(a.Key) == len(b.Key) {
		return c
	}
	return cmp.Or(bytes.Compare(appendPageKey(nil, a.Key), appendPageKey(nil, b.Key)), cmp.Compare(len(a.Key), len(b.Key)))
}

// removeTables removes tables that a crash left before they were taken in.
func removeTables(dir string, files vfs.FS) error {
	names, err := files.List(dir)
	if err != nil {
		return fmt.Errorf("embedded: look into data directory %s: %w", dir, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, bulkPrefix) {
			if err := files.Remove(files.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("embedded: remove the rest of a flush from data directory %s: %w", dir, err)
			}
		}
	}
	return nil
}

// written is what a flush is written to: a batch, or tables.
type written interface {
	Set(key, value []byte) error
	Delete(key []byte) error
}

type batchOf struct{ batch *pebble.Batch }

func (b batchOf) Set(key, value []byte) error { return b.batch.Set(key, value, nil) }
func (b batchOf) Delete(key []byte) error     { return b.batch.Delete(key, nil) }
