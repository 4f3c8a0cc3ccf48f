package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// fedBucket is a bucket with a view in the same process, which both the bucket and the
// owner feed. It is as a projection.View takes what comes.
type fedBucket struct {
	*memBucket

	mu      sync.Mutex
	feeds   uint64
	view    map[string]*holdpb.HoldStat
	shown   map[string]bool // by the owner
	to      map[int]uint64
	shows   int
	watched func(key string) bool
	all     bool
	wrong   error
}

func newFedBucket(b *memBucket) *fedBucket {
	return &fedBucket{memBucket: b, view: map[string]*holdpb.HoldStat{}, shown: map[string]bool{}, to: map[int]uint64{}, watched: func(string) bool { return false }}
}

// open opens the view.
func (b *fedBucket) open() {
	b.memBucket.mu.Lock()
	defer b.memBucket.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.feeds++
	for key, s := range b.stats {
		b.view[key] = s
	}
}

func (b *fedBucket) Publish(ctx context.Context, partition int, entries []projection.Entry, to projection.Reached) error {
	if err := b.memBucket.Publish(ctx, partition, entries, to); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.feeds == 0 {
		return nil
	}
	for _, e := range entries {
		if was := b.view[e.Key]; b.shown[e.Key] && was != nil {
			s := b.read(e.Value)
			later := s.Position > was.Position || s.Position == was.Position && s.Since.AsTime().After(was.Since.AsTime())
			if later && b.wrong == nil {
				b.wrong = fmt.Errorf("the bucket has %s at %d, which was not shown", e.Key, s.Position)
			}
			continue
		}
		b.take(e)
	}
	return nil
}

func (b *fedBucket) read(value []byte) *holdpb.HoldStat {
	s := new(holdpb.HoldStat)
	if err := proto.Unmarshal(value, s); err != nil {
		b.wrong = err
	}
	return s
}

func (b *fedBucket) take(e projection.Entry) {
	if e.Gone {
		delete(b.view, e.Key)
		return
	}
	s := b.read(e.Value)
	if was := b.view[e.Key]; was != nil && was.Position > s.Position && b.wrong == nil {
		b.wrong = fmt.Errorf("%s steps back from %d to %d", e.Key, was.Position, s.Position)
	}
	b.view[e.Key] = s
}

func (b *fedBucket) Feeds() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.feeds
}

func (b *fedBucket) Show(partition int, entries []projection.Entry, to *projection.Reached) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		b.take(e)
		b.shown[e.Key] = true
		b.shows++
	}
	if to == nil {
		return
	}
	if b.to[partition] > to.Position && b.wrong == nil {
		b.wrong = fmt.Errorf("partition %d steps back from %d to %d", partition, b.to[partition], to.Position)
	}
	b.to[partition] = to.Position
}

func (b *fedBucket) Shown(partition int) uint64 {
	b.memBucket.mu.Lock()
	defer b.memBucket.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.to[partition], b.positions[partition])
}

func (b *fedBucket) Watches(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.watched(key)
}

func (b *fedBucket) WatchesAll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

// compare requires the view to have what the bucket has.
func (b *fedBucket) compare(t *testing.T) {
	t.Helper()
	b.memBucket.mu.Lock()
	defer b.memBucket.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrong != nil {
		t.Fatal(b.wrong)
	}
	if len(b.view) != len(b.stats) {
		t.Errorf("the view has %d holders, the bucket %d", len(b.view), len(b.stats))
	}
	for key, s := range b.stats {
		if !proto.Equal(s, b.view[key]) {
			t.Errorf("%s: the view has %v, the bucket %v", key, b.view[key], s)
		}
	}
}

// Readers in the process are shown what the bucket gets, whether somebody watches or not, also if the
// view is opened in the midst of it, and no holder steps back meanwhile.
func TestReadersAreShownWhatTheBucketGets(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 21))
			rules := hold.PlainRules(hold.Merge)
			if seed%2 == 1 {
				rules = randomRules(r, false)
			}
			log := randomLog(r, 150)
			log.slow = r.IntN(3) > 0
			bucket := newFedBucket(newMemBucket())
			bucket.all = r.IntN(3) == 0
			bucket.watched = func(key string) bool { return len(key)%2 == 0 || key[len(key)-1]%3 == byte(seed%3) }
			late := r.IntN(2) == 0
			if !late {
				bucket.open()
			}
			store := storetest.NewMemory()
			w := run(t, Config{
				Store: store, Rules: rules, FlushInterval: time.Duration(1 + r.IntN(3_000_000)),
				CacheBytes: 1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(40_000), GCInterval: time.Millisecond, turn: 1 + r.IntN(12),
			}, log, bucket)
			if late {
				if err := w.WaitApplied(context.Background(), 0, log.last/2); err != nil {
					t.Fatal(err)
				}
				bucket.open()
			}
			testwait.Poll(t, "all is shown", func() error {
				for p := range log.partitions {
					end, _ := log.End(context.Background(), p)
					if at := bucket.Shown(p); at < end {
						return fmt.Errorf("partition %d is shown up to %d of %d", p, at, end)
					}
				}
				return nil
			})
			w.finish(t, log)
			compareWithRules(t, log, store, rules)
			compareBucketBy(t, log, store, bucket.memBucket, rules)
			bucket.compare(t)
		})
	}
}

// A reader is shown what it watches while the bucket takes nothing, and a reader who waits
// for a position is shown all up to there.
func TestReadersDoNotWaitForTheBucket(t *testing.T) {
	t.Parallel()
	log, memory := newMemLog(1), newMemBucket()
	bucket := newFedBucket(memory)
	bucket.watched = func(key string) bool { return key == "watched" }
	bucket.open()
	log.add(logBegin, held("watched", "t", logBegin-3*minute, logBegin-2*minute))
	w := run(t, Config{Store: storetest.NewMemory()}, log, bucket)
	awaitAudits(t, w, 1)
	release := make(chan struct{})
	memory.mu.Lock()
	memory.hook = func() error {
		<-release
		return nil
	}
	memory.mu.Unlock()
	var last uint64
	for i := range int64(100) {
		last = log.add(logBegin+i, held("watched", "t", logBegin-2*minute+i, logBegin-minute), held(fmt.Sprint("h", i), "t", logBegin-2*minute+i, logBegin-minute))
	}
	testwait.Poll(t, "readers are shown what they watch", func() error {
		bucket.mu.Lock()
		defer bucket.mu.Unlock()
		if at := bucket.view["watched"].GetPosition(); at != last {
			return fmt.Errorf("it is at %d of %d", at, last)
		}
		return nil
	})
	testwait.Poll(t, "readers are shown the position", func() error {
		w.showSoon(0)
		if at := bucket.Shown(0); at != last {
			return fmt.Errorf("it is at %d of %d", at, last)
		}
		return nil
	})
	bucket.mu.Lock()
	if n := len(bucket.view); n != 101 {
		t.Errorf("%d holders are shown, want 101", n)
	}
	bucket.mu.Unlock()
	close(release)
	w.finish(t, log)
	bucket.compare(t)
}

// Events are late by the age of the last one applied, and not before there was one to
// apply. A partition that stands still, catches up or rests is not late.
func TestLate(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	running := PartitionStatus{State: Running, behind: ago(5 * time.Second), moved: ago(time.Millisecond), LogTime: ago(3 * time.Second).UnixNano()}
	for name, c := range map[string]struct {
		change func(*PartitionStatus)
		want   time.Duration
	}{
		"it applies old events":          {func(*PartitionStatus) {}, 3 * time.Second},
		"it had nothing to apply before": {func(s *PartitionStatus) { s.behind = ago(time.Second) }, time.Second},
		"it has nothing to apply":        {func(s *PartitionStatus) { s.behind = time.Time{} }, 0},
		"it stands still":                {func(s *PartitionStatus) { s.moved = ago(lateMoves + 1) }, 0},
		"it catches up":                  {func(s *PartitionStatus) { s.State = CatchingUp }, 0},
		"it rests":                       {func(s *PartitionStatus) { s.Resting = true }, 0},
		"it is paused":                   {func(s *PartitionStatus) { s.Paused = true }, 0},
	} {
		s := running
		if c.change(&s); s.late(now) != c.want {
			t.Errorf("%s: late by %v, want %v", name, s.late(now), c.want)
		}
	}
}
