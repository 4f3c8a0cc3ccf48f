package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Memory is a store without a disk, for tests of what stands on a store. It
// passes the suite. What it hands out and what it is given are copies, so that
// nobody works on the store's own memory by mistake.
type Memory struct {
	mu         sync.RWMutex
	closed     bool
	partitions map[int]*memoryPartition
	meta       map[string]string
}

var _ projection.Store = (*Memory)(nil)

// memoryPartition is copied by the flush that follows a view, not by the view:
// its maps are shared for as long as nobody writes.
type memoryPartition struct {
	shared     bool // a view has it
	flushed    bool
	checkpoint projection.Checkpoint
	pairs      map[projection.PairKey]*projection.PairRecord // records never change
	holders    map[string]projection.HolderRecord
}

// NewMemory is an empty store.
func NewMemory() *Memory {
	return &Memory{partitions: map[int]*memoryPartition{}, meta: map[string]string{}}
}

// Capabilities of the store: it reads pages, and keeps nothing else that needs one.
func (m *Memory) Capabilities() projection.Capabilities {
	return projection.Capabilities{ReadsPages: true}
}

// Claim is not for a store of one process.
func (m *Memory) Claim(context.Context, int, uint64) (projection.Checkpoint, bool, error) {
	return projection.Checkpoint{}, false, projection.ErrUnsupported
}

// RemoveSealed is not for a store that keeps no facts.
func (m *Memory) RemoveSealed(context.Context, int) (more bool, err error) {
	return false, projection.ErrUnsupported
}

// Reopen is the store as it would be found by the next process.
func (m *Memory) Reopen() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.partitions {
		p.shared = true
	}
	return &Memory{partitions: maps.Clone(m.partitions), meta: maps.Clone(m.meta)}
}

// read gives the partition as it is now. Callers look at it under the lock, or mark it shared.
func (m *Memory) read(ctx context.Context, partition int) (*memoryPartition, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.closed {
		return nil, projection.ErrClosed
	}
	if p := m.partitions[partition]; p != nil {
		return p, nil
	}
	return &memoryPartition{}, nil
}

// View opens a view; see [projection.Reader].
func (m *Memory) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return nil, err
	}
	p.shared = true
	return &memoryView{p: p}, nil
}

// Holder reads one holder.
func (m *Memory) Holder(ctx context.Context, partition int, holder string) (*projection.HolderRecord, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return nil, err
	}
	return p.holder(holder)
}

func (p *memoryPartition) holder(holder string) (*projection.HolderRecord, error) {
	h, ok := p.holders[holder]
	if !ok {
		return nil, projection.ErrNotFound
	}
	return &h, nil
}

// Checkpoint says how far the partition is.
func (m *Memory) Checkpoint(ctx context.Context, partition int) (projection.Checkpoint, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return projection.Checkpoint{}, false, err
	}
	return p.checkpoint, p.flushed, nil
}

// Ping answers until the store is closed.
func (m *Memory) Ping(ctx context.Context) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, err := m.read(ctx, 0)
	return err
}

// Load reads pairs.
func (m *Memory) Load(ctx context.Context, partition int, keys []projection.PairKey) ([]*projection.PairRecord, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return nil, err
	}
	records := make([]*projection.PairRecord, len(keys))
	for i, key := range keys {
		if r := p.pairs[key]; r != nil {
			records[i] = r.Clone()
			rootOnly(records[i])
			if records[i].IsLarge() {
				records[i].More = projection.PagesOf(context.WithoutCancel(ctx), m, partition, key)
			}
		}
	}
	return records, nil
}

// rootOnly leaves a copy of a record, of a large pair, no page but the root.
func rootOnly(r *projection.PairRecord) {
	for _, page := range r.Pages {
		if len(page.Key) == 0 && hold.IsRoot(page.Data) {
			r.Pages = []hold.Page{page}
			return
		}
	}
}

// recordPages reads pages of a record, which never changes.
type recordPages struct{ record *projection.PairRecord }

func (p recordPages) Page(key []byte) ([]byte, error) {
	if p.record == nil {
		return nil, nil
	}
	i, ok := slices.BinarySearchFunc(p.record.Pages, key, func(p hold.Page, key []byte) int { return bytes.Compare(p.Key, key) })
	if !ok {
		return nil, nil
	}
	return bytes.Clone(p.record.Pages[i].Data), nil
}

func (p recordPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	if p.record == nil {
		return nil
	}
	for _, page := range p.record.Pages {
		if bytes.HasPrefix(page.Key, prefix) && !yield(hold.Page{Key: bytes.Clone(page.Key), Data: bytes.Clone(page.Data)}) {
			break
		}
	}
	return nil
}

// Page reads one page of a pair.
func (m *Memory) Page(ctx context.Context, partition int, pair projection.PairKey, page []byte) ([]byte, error) {
	pages, err := m.pages(ctx, partition, pair)
	if err != nil {
		return nil, err
	}
	return pages.Page(page)
}

// Pages walks pages of a pair.
func (m *Memory) Pages(ctx context.Context, partition int, pair projection.PairKey, prefix []byte, fn func(hold.Page) bool) error {
	pages, err := m.pages(ctx, partition, pair)
	if err != nil {
		return err
	}
	return pages.Scan(prefix, fn)
}

func (m *Memory) pages(ctx context.Context, partition int, pair projection.PairKey) (recordPages, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return recordPages{}, err
	}
	return recordPages{p.pairs[pair]}, nil
}

// LoadHolders reads holders.
func (m *Memory) LoadHolders(ctx context.Context, partition int, holders []string) ([]*projection.HolderRecord, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return nil, err
	}
	records := make([]*projection.HolderRecord, len(holders))
	for i, holder := range holders {
		records[i], _ = p.holder(holder)
	}
	return records, nil
}

// HolderPairs walks the figures of a holder's pairs.
func (m *Memory) HolderPairs(ctx context.Context, partition int, holder string, fn func(projection.PairKey, hold.Figures) error) error {
	v, err := m.View(ctx, partition)
	if err != nil {
		return err
	}
	defer v.Close()
	return v.Pairs(ctx, holder, func(r *projection.PairRecord) error { return fn(r.Key, r.Figures) })
}

// ChangedSince walks the holders that have changed.
func (m *Memory) ChangedSince(ctx context.Context, partition int, position uint64, fn func(*projection.HolderRecord) error) error {
	m.mu.Lock()
	p, err := m.read(ctx, partition)
	if err == nil {
		p.shared = true
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, holder := range slices.Sorted(maps.Keys(p.holders)) {
		if h := p.holders[holder]; h.Position > position {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(&h); err != nil {
				return err
			}
		}
	}
	return nil
}

// Holders walks the holders behind one.
func (m *Memory) Holders(ctx context.Context, partition int, after string, fn func(*projection.HolderRecord) error) error {
	return m.ChangedSince(ctx, partition, 0, func(h *projection.HolderRecord) error {
		if after != "" && h.Holder <= after {
			return nil
		}
		return fn(h)
	})
}

// KeysAfter gives the keys of pairs behind one.
func (m *Memory) KeysAfter(ctx context.Context, partition int, after projection.PairKey, most int) ([]projection.PairKey, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, err := m.read(ctx, partition)
	if err != nil {
		return nil, err
	}
	var keys []projection.PairKey
	for key := range p.pairs {
		if key.Compare(after) > 0 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, projection.PairKey.Compare)
	return keys[:min(len(keys), max(most, 0))], nil
}

// Flush takes over a batch, all of it or nothing.
func (m *Memory) Flush(ctx context.Context, b *projection.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.read(ctx, b.Partition)
	if err != nil {
		return err
	}
	if b.Partition < 0 {
		return fmt.Errorf("%w: partition %d is below zero", projection.ErrBatch, b.Partition)
	}
	if p.checkpoint.Epoch > b.Checkpoint.Epoch {
		return &projection.FencedError{Partition: b.Partition, Stored: p.checkpoint.Epoch, Mine: b.Checkpoint.Epoch}
	}
	if p.shared || p.pairs == nil {
		p = p.clone()
		m.partitions[b.Partition] = p
	}
	for i := range b.Pairs {
		c := &b.Pairs[i]
		key := projection.PairKey{Holder: strings.Clone(c.Key.Holder), Token: strings.Clone(c.Key.Token)}
		p.pairs[key] = changed(key, p.pairs[key], c)
	}
	for _, h := range b.Holders {
		h.Holder = strings.Clone(h.Holder)
		p.holders[h.Holder] = h
	}
	p.checkpoint, p.flushed = b.Checkpoint, true
	return nil
}

func (p *memoryPartition) clone() *memoryPartition {
	c := &memoryPartition{flushed: p.flushed, checkpoint: p.checkpoint, pairs: maps.Clone(p.pairs), holders: maps.Clone(p.holders)}
	if c.pairs == nil {
		c.pairs, c.holders = map[projection.PairKey]*projection.PairRecord{}, map[string]projection.HolderRecord{}
	}
	return c
}

// changed is the record after a change. The one before stays as it is.
func changed(key projection.PairKey, before *projection.PairRecord, c *projection.PairChange) *projection.PairRecord {
	after := &projection.PairRecord{Key: key, Policy: c.Policy, Figures: c.Figures}
	pages := map[string][]byte{}
	if before != nil {
		for _, p := range before.Pages {
			pages[string(p.Key)] = p.Data
		}
	}
	for _, p := range c.Pages {
		if len(p.Data) == 0 {
			delete(pages, string(p.Key))
			continue
		}
		pages[string(p.Key)] = bytes.Clone(p.Data)
	}
	for _, k := range slices.Sorted(maps.Keys(pages)) {
		after.Pages = append(after.Pages, hold.Page{Key: []byte(k), Data: pages[k]})
	}
	return after
}

// Meta reads the fixed values.
func (m *Memory) Meta(ctx context.Context) (map[string]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.read(ctx, 0); err != nil {
		return nil, err
	}
	return maps.Clone(m.meta), nil
}

// SetMeta fixes values, all or none.
func (m *Memory) SetMeta(ctx context.Context, values map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.read(ctx, 0); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if have, ok := m.meta[name]; ok && have != values[name] {
			return &projection.MetaError{Name: name, Stored: have, Wanted: values[name]}
		}
	}
	maps.Copy(m.meta, values)
	return nil
}

// Close ends the store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// memoryView is a partition that nobody writes to any more.
type memoryView struct {
	p      *memoryPartition
	closed bool
}

func (v *memoryView) Close() error {
	v.closed = true
	return nil
}

func (v *memoryView) usable(ctx context.Context) error {
	if v.closed {
		return projection.ErrClosed
	}
	return ctx.Err()
}

func (v *memoryView) Checkpoint() (projection.Checkpoint, bool) {
	return v.p.checkpoint, v.p.flushed
}

func (v *memoryView) Holder(ctx context.Context, holder string) (*projection.HolderRecord, error) {
	if err := v.usable(ctx); err != nil {
		return nil, err
	}
	return v.p.holder(holder)
}

func (v *memoryView) Pairs(ctx context.Context, holder string, fn func(*projection.PairRecord) error) error {
	return v.walk(ctx, fn, func(k projection.PairKey) bool { return k.Holder == holder })
}

func (v *memoryView) AllPairs(ctx context.Context, fn func(*projection.PairRecord) error) error {
	return v.walk(ctx, fn, func(projection.PairKey) bool { return true })
}

// PairsAfter walks up to most pairs behind a key.
func (v *memoryView) PairsAfter(ctx context.Context, after projection.PairKey, most int, fn func(*projection.PairRecord) error) (more bool, err error) {
	given, enough := 0, errors.New("enough")
	err = v.walk(ctx, func(r *projection.PairRecord) error {
		if given == most {
			return enough
		}
		given++
		return fn(r)
	}, func(k projection.PairKey) bool { return k.Compare(after) > 0 })
	if err == enough {
		return true, nil
	}
	return false, err
}

func (v *memoryView) walk(ctx context.Context, fn func(*projection.PairRecord) error, want func(projection.PairKey) bool) error {
	if err := v.usable(ctx); err != nil {
		return err
	}
	var keys []projection.PairKey
	for k := range v.p.pairs {
		if want(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, projection.PairKey.Compare)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := v.p.pairs[k].Clone()
		rootOnly(r)
		r.More = recordPages{v.p.pairs[k]}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}
