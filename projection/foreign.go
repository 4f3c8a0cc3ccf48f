package projection

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// A bucket that has one owner has messages of nobody else. So the views of its
// [Snapshots] do not take what somebody else wrote, be it well-formed: they keep what
// they have, and the owner hears of the key, which it compares with its store. A message is
// known by its sequence, which nobody can choose; see burst.

// The header of a message that says that a key is gone, as key-value clients write it.
const (
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
)

// foreign reports messages that others wrote to the bucket.
type foreign struct {
	told atomic.Pointer[func(key string)]
}

// OnForeign has f called with the key of each message that a view has seen and that
// somebody else wrote to a bucket with one owner, or that cannot be read. The views do not
// take such messages from now on. An empty key means that there may be one, of any key. f is called by the
// views' watches and must not wait. It does nothing for a bucket with several owners.
func (s *Snapshots) OnForeign(f func(key string)) {
	if s.config.Async {
		s.foreign.told.Store(&f)
	}
}

// watched reports whether anybody wants to hear of them.
func (f *foreign) watched() bool { return f.told.Load() != nil }

func (f *foreign) tell(key string) {
	if tell := f.told.Load(); tell != nil {
		(*tell)(key)
	}
}

// origin is who wrote a message.
type origin int

const (
	ours origin = iota
	unclear
	theirs
)

// originOf returns who wrote the message of a sequence. It is unclear for the time in
// which bursts were not counted.
func (s *Snapshots) originOf(sequence uint64) origin {
	if !s.foreign.watched() {
		return ours
	}
	switch sent := s.burst.sent.Load(); {
	case sent == unknownSent || s.burst.unclear.has(sequence):
		return unclear
	case sequence > sent:
		return theirs
	}
	return ours
}

// take reports whether a view takes a message of the bucket, which it does unless that is
// somebody else's for sure. It tells the owner of all that may be.
func (s *Snapshots) take(key string, sequence uint64) bool {
	by := s.originOf(sequence)
	if by != ours && key != markKey {
		s.foreign.tell(strings.Clone(key))
	}
	return by != theirs
}

// span is the sequences above from, up to to.
type span struct{ from, to uint64 }

// spans are the latest few spans. They are safe for concurrent use.
type spans struct {
	most   atomic.Uint64 // the greatest to
	mu     sync.Mutex
	latest [4]span
	n      int
}

func (s *spans) add(one span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest[s.n%len(s.latest)] = one
	s.n++
	s.most.Store(max(s.most.Load(), one.to))
}

func (s *spans) has(sequence uint64) bool {
	if sequence > s.most.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.latest {
		if sequence > one.from && sequence <= one.to {
			return true
		}
	}
	return false
}

// putMark publishes a message of a view's own, which counts as ours.
func (s *Snapshots) putMark(ctx context.Context) (uint64, error) {
	s.burst.mu.Lock()
	defer s.burst.mu.Unlock()
	was := s.burst.last
	s.burst.counted(0)
	ack, err := s.js.Publish(ctx, s.prefix+markKey, nil)
	if err != nil {
		return 0, fmt.Errorf("mark the beginning with a message to %s: %w", s.prefix+markKey, err)
	}
	s.burst.counted(ack.Sequence)
	if was != 0 && ack.Sequence != was+1 {
		s.foreign.tell("")
	}
	return ack.Sequence, nil
}
