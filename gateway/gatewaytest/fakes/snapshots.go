package fakes

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// Snapshots are snapshots that change when a test says so. They come in the
// order in which they were first put.
type Snapshots struct {
	Ready chan struct{}
	Err   error

	mu      sync.Mutex
	order   []string
	items   map[string]*fakeSnapshot
	last    uint64
	changed chan struct{}
	reached map[int]projection.Reached
}

type fakeSnapshot struct {
	projection.Change
	settled string
}

// ReadySnapshots returns a view that is complete and has these snapshots.
func ReadySnapshots(stats ...*holdpb.HoldStat) *Snapshots {
	s := &Snapshots{
		Ready: make(chan struct{}), items: map[string]*fakeSnapshot{}, changed: make(chan struct{}), reached: map[int]projection.Reached{},
	}
	for _, stat := range stats {
		s.Put(stat)
	}
	close(s.Ready)
	return s
}

// Fail has the snapshots fail from here on.
func (s *Snapshots) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Err = err
}

// Put adds or replaces the snapshot of a holder.
func (s *Snapshots) Put(stat *holdpb.HoldStat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ingest.SubjectToken(stat.GetHolderId())
	it := s.items[key]
	if it == nil {
		it = &fakeSnapshot{Change: projection.Change{Key: key}}
		s.items[key] = it
		s.order = append(s.order, key)
	}
	s.last++
	it.Value, it.Number, it.Gone = Marshal(stat), s.last, false
	if it.Settled == 0 || it.settled != stat.GetScoreExact() {
		it.Settled, it.settled = s.last, stat.GetScoreExact()
	}
	s.wake()
}

// Remove deletes the snapshot of a holder.
func (s *Snapshots) Remove(holder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[ingest.SubjectToken(holder)]
	s.last++
	it.Value, it.Number, it.Settled, it.Gone = nil, s.last, s.last, true
	s.wake()
}

// Reach sets the watermark of a partition.
func (s *Snapshots) Reach(partition int, to projection.Reached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached[partition] = to
	s.wake()
}

func (s *Snapshots) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait waits until Ready is closed.
func (s *Snapshots) Wait(ctx context.Context) error {
	select {
	case <-s.Ready:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// changes are those after a point, by number.
func (s *Snapshots) changes(after uint64) (all []projection.Change) {
	for _, key := range s.order {
		if c := s.items[key].Change; c.Number > after {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b projection.Change) int { return int(a.Number) - int(b.Number) })
	return all
}

// Each calls fn with every snapshot, in the order of their changes.
func (s *Snapshots) Each(fn func(projection.Change) bool) {
	s.mu.Lock()
	order := slices.Clone(s.order)
	s.mu.Unlock()
	for _, key := range order {
		if c, ok := s.Lookup(key); ok && !fn(c) {
			return
		}
	}
}

// All calls fn with the key and the value of every snapshot.
func (s *Snapshots) All(fn func(string, []byte) bool) {
	s.Each(func(c projection.Change) bool { return fn(c.Key, c.Value) })
}

// Len returns the number of snapshots.
func (s *Snapshots) Len() (n int) {
	s.Each(func(projection.Change) bool { n++; return true })
	return n
}

// IsDamaged returns false: no snapshot is damaged.
func (s *Snapshots) IsDamaged(string) bool { return false }

// Lookup returns the snapshot of a key, if there is one.
func (s *Snapshots) Lookup(key string) (projection.Change, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[key]
	if it == nil || it.Gone {
		return projection.Change{}, false
	}
	return it.Change, true
}

// AppendChanges is the same as of a view of the bucket.
func (s *Snapshots) AppendChanges(dst []projection.Change, after uint64, limit int) ([]projection.Change, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.changes(after)[:min(limit, len(s.changes(after)))] {
		dst, after = append(dst, c), c.Number
	}
	return dst, after
}

// AppendLatest is the same as of a view of the bucket.
func (s *Snapshots) AppendLatest(dst []projection.Change, after, before uint64, limit int) (_ []projection.Change, next, point uint64, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.changes(after)) {
		if c.Number >= before {
			continue
		}
		if len(dst) == limit {
			return dst, before, s.last, true
		}
		dst, before = append(dst, c), c.Number
	}
	return dst, before, s.last, false
}

// Changed returns a channel that is closed by the next change.
func (s *Snapshots) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Last returns the number of the last change.
func (s *Snapshots) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Reached returns the watermark of a partition.
func (s *Snapshots) Reached(partition int) projection.Reached {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached[partition]
}

// WaitPosition waits until the watermark of a partition is at position.
func (s *Snapshots) WaitPosition(ctx context.Context, partition int, position uint64) error {
	for {
		changed := s.Changed()
		if s.Reached(partition).Position >= position {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Freeze does nothing.
func (s *Snapshots) Freeze() {}

// Thaw does nothing.
func (s *Snapshots) Thaw() {}

// Close does nothing.
func (s *Snapshots) Close() error { return nil }

// Marshal returns the deterministic bytes of a message.
func Marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
