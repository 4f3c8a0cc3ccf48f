package processor

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/projection/storetest"
)

// testClock stands still until it is moved.
type testClock struct{ passed atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Unix(1_700_000_000, c.passed.Load()) }
func (c *testClock) advance(d time.Duration) { c.passed.Add(int64(d)) }

const moveBound = 10 * time.Second

var errAway = errors.New("it is away")

// awaitReady looks until Ready says what is wanted: text of its error, or "" for none.
func awaitReady(t *testing.T, r *running, want string) error {
	t.Helper()
	for began := time.Now(); ; {
		err := r.Ready(context.Background(), moveBound)
		if want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want) {
			return err
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("ready: %v, want %q", err, want)
		}
		time.Sleep(time.Millisecond) // a look has no event to wait for
	}
}

// Work that does not progress is reported after the bound, not before, with the
// partition and the reason; and no more once it is done.
func TestNotReadyWhileStuck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(*memLog, *storetest.Faulty, *memBucket) (entered func(), mend func())
		data    []byte // nil: an event
		want    string
	}{
		"the store takes no flush": {
			breakIt: func(_ *memLog, s *storetest.Faulty, _ *memBucket) (func(), func()) {
				tried := hookStore(s, storetest.OpFlush)
				return func() { <-tried; <-tried }, func() { s.SetHook(nil) }
			},
			want: "partition 1 does not move: it has been flushing to the store for 11s: flush: it is away",
		},
		"the store does not load": {
			breakIt: func(_ *memLog, s *storetest.Faulty, _ *memBucket) (func(), func()) {
				tried := hookStore(s, storetest.OpLoadHolders)
				return func() { <-tried; <-tried }, func() { s.SetHook(nil) }
			},
			want: "partition 1 does not move: it has been applying messages for 11s: load holders: it is away",
		},
		"a dead letter is not stored": {
			breakIt: func(l *memLog, _ *storetest.Faulty, _ *memBucket) (func(), func()) {
				tried := make(chan struct{}, 1000)
				set := func(hook func(context.Context) error) {
					l.mu.Lock()
					defer l.mu.Unlock()
					l.deadLetterHook = hook
				}
				set(func(context.Context) error { tried <- struct{}{}; return errAway })
				return func() { <-tried; <-tried }, func() { set(nil) }
			},
			data: []byte{0xff},
			want: "partition 1 does not move: it has been flushing to the store for 11s: publish a dead letter: it is away",
		},
		"the bucket takes nothing": {
			breakIt: func(_ *memLog, _ *storetest.Faulty, b *memBucket) (func(), func()) {
				tried := make(chan struct{}, 1000)
				set := func(hook func() error) {
					b.mu.Lock()
					defer b.mu.Unlock()
					b.hook = hook
				}
				set(func() error { tried <- struct{}{}; return errAway })
				return func() { <-tried; <-tried }, func() { set(nil) }
			},
			want: "partition 1 does not move: it has been publishing snapshots for 11s: publish snapshots: it is away",
		},
		"no messages come": {
			breakIt: func(l *memLog, _ *storetest.Faulty, _ *memBucket) (func(), func()) {
				l.stall(true)
				return func() {}, func() { l.stall(false) }
			},
			want: "partition 1 does not move: it has had no messages behind position 0, though the log goes on to 1, for 11s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, store, bucket, clock := newMemLog(2), storetest.NewFaulty(storetest.NewMemory()), newMemBucket(), &testClock{}
			r := run(t, Config{Store: store, FlushInterval: time.Nanosecond, Now: clock.now}, log, bucket)
			awaitReady(t, r, "")
			clock.advance(time.Hour) // with nothing to do, that is no matter
			awaitReady(t, r, "")

			entered, mend := c.breakIt(log, store, bucket)
			if c.data == nil {
				log.add(logBegin, held(holderOf(1, 2, 1), "t", logBegin-3*minute, logBegin-2*minute))
			} else {
				log.append(1, logBegin, false, c.data)
			}
			entered()
			awaitReady(t, r, "") // noted, and not yet too long
			clock.advance(moveBound)
			awaitReady(t, r, "")
			clock.advance(time.Second)
			if err := awaitReady(t, r, c.want); !errors.Is(err, ErrStuck) {
				t.Errorf("error %v", err)
			}
			mend()
			awaitReady(t, r, "")
			r.finish(t, log)
			if err := r.Ready(context.Background(), moveBound); !errors.Is(err, ErrStopped) {
				t.Errorf("after the stop: %v", err)
			}
		})
	}
}

// hookStore makes an operation fail and gives a token for each try.
func hookStore(s *storetest.Faulty, op storetest.Op) <-chan struct{} {
	tried := make(chan struct{}, 1000)
	s.SetHook(func(_ context.Context, called storetest.Op, _ int) error {
		if called != op {
			return nil
		}
		tried <- struct{}{}
		return errAway
	})
	return tried
}

// A partition that does not get on with its start says what it waits for.
func TestNotReadyAtTheStart(t *testing.T) {
	t.Parallel()
	log, store := newMemLog(1), storetest.NewFaulty(storetest.NewMemory())
	hookStore(store, storetest.OpCheckpoint)
	r := run(t, Config{Store: store}, log, nil)
	awaitReady(t, r, "partition 0 is loading: read the checkpoint: it is away")
	store.SetHook(nil)
	awaitReady(t, r, "")
	r.finish(t, log)
}
