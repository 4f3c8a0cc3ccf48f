package processor

import (
	"context"
	"errors"
	"iter"
	"maps"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testseed"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// allSeeds has property tests try all their seeds, as a hunt for faults should.
var allSeeds = os.Getenv("HOLDMETRICS_SEEDS") == "all"

// seeds are those of its seeds that a property test tries: a third, so that the tests of
// the package end within half a minute, all of them with HOLDMETRICS_SEEDS=all, or a
// fresh one in a run of a hunt.
func seeds(t testing.TB, most uint64) iter.Seq[uint64] {
	if !allSeeds {
		most = (most + 2) / 3
	}
	return testseed.Seeds(t.Name(), most)
}

// memLog is a log in memory.
type memLog struct {
	id         string
	partitions int
	slow       bool                              // a message is given when the one before was taken
	limits     func(position uint64) hold.Limits // nil: the default ones
	horizons   map[int64]bool

	mu             sync.Mutex
	moved          sync.Cond
	last           uint64
	stalled        bool // nothing is given
	messages       map[int][]message
	deadLetters    map[string]ingest.DeadLetter // by subject
	deadLetterHook func(ctx context.Context) error
	now            func() (id string, last uint64, err error) // what Look says; nil: the truth
}

func newMemLog(partitions int) *memLog {
	l := &memLog{id: "log-1", partitions: partitions, messages: map[int][]message{}, deadLetters: map[string]ingest.DeadLetter{}}
	l.moved.L = &l.mu
	return l
}

func (l *memLog) ID() string      { return l.id }
func (l *memLog) Partitions() int { return l.partitions }

func (l *memLog) LimitsAt(position uint64) hold.Limits {
	if l.limits == nil {
		return hold.DefaultLimits()
	}
	return l.limits(position)
}

func (l *memLog) KnowsHorizon(_ context.Context, horizon int64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.horizons[horizon], nil
}

func (l *memLog) Look(context.Context) (string, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		return l.now()
	}
	return l.id, l.last, nil
}

func (l *memLog) End(_ context.Context, partition int) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.messages[partition]; len(m) > 0 {
		return m[len(m)-1].position, nil
	}
	return 0, nil
}

func (l *memLog) Replicated() bool                         { return true }
func (l *memLog) Accepted() bool                           { return false }
func (l *memLog) IsLost(uint64) bool                       { return false }
func (l *memLog) Damage() error                            { return nil }
func (l *memLog) Whole(context.Context, uint64) error      { return nil }
func (l *memLog) Check(context.Context, ingest.Span) error { return nil }
func (l *memLog) Has(context.Context, ingest.Anchor) error { return nil }

func (l *memLog) CountAfter(_ context.Context, partition int, after uint64) (messages, last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages[partition] {
		if m.position > after {
			messages++
		}
		last = m.position
	}
	return messages, last, nil
}

func (l *memLog) PublishDeadLetters(ctx context.Context, deadLetters []ingest.DeadLetter) error {
	for _, d := range deadLetters {
		if err := l.publishDeadLetter(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (l *memLog) publishDeadLetter(ctx context.Context, d ingest.DeadLetter) error {
	l.mu.Lock()
	hook := l.deadLetterHook
	l.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadLetters[d.Subject()] = d
	return nil
}

// stall stops giving messages, or goes on with it.
func (l *memLog) stall(stalled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = stalled
	l.moved.Broadcast()
}

// append adds a message and gives its position.
func (l *memLog) append(partition int, at int64, json bool, data []byte) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.messages[everyPartition] = append(l.messages[everyPartition], message{position: l.last, partition: partition, at: at, json: json, origin: "memory", data: data})
	l.messages[partition] = append(l.messages[partition], message{position: l.last, partition: partition, at: at, json: json, origin: "memory", data: data})
	l.moved.Broadcast()
	return l.last
}

// add appends a frame of events, which are of one partition.
func (l *memLog) add(at int64, drafts ...hold.Draft) uint64 {
	var w ingest.FrameWriter
	for i := range drafts {
		w.AppendDraft(&drafts[i])
	}
	return l.append(ingest.Partition(drafts[0].Holder, l.partitions), at, false, w.Bytes())
}

func (l *memLog) read(_ context.Context, partition int, after uint64, in *prefetchBuffer, _ *zap.Logger) (func(), error) {
	var reading sync.WaitGroup
	stopped, at := false, 0
	reading.Go(func() {
		for {
			l.mu.Lock()
			var next *message
			for next == nil && !stopped {
				for at < len(l.messages[partition]) && l.messages[partition][at].position <= after {
					at++
				}
				if at == len(l.messages[partition]) || l.stalled {
					l.moved.Wait()
					continue
				}
				m := l.messages[partition][at]
				m.pending = uint64(len(l.messages[partition]) - 1 - at)
				next = &m
			}
			l.mu.Unlock()
			if next == nil || !in.put(*next) {
				return
			}
			for l.slow && !in.empty() && !closed(in) {
				runtime.Gosched()
			}
			after = next.position
		}
	})
	return func() {
		l.mu.Lock()
		stopped = true
		l.moved.Broadcast()
		l.mu.Unlock()
		reading.Wait()
	}, nil
}

func closed(b *prefetchBuffer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// memBucket is a snapshot bucket in memory. It takes note of a snapshot or a
// position that steps back.
type memBucket struct {
	mu        sync.Mutex
	hook      func() error
	asked     int // snapshots that Values was asked for
	renewed   int // how often Renew was called
	stats     map[string]*holdpb.HoldStat
	positions map[int]uint64
	owed      map[int]bool
	published int
	backwards error

	mayStepBack bool // in its positions

	changed chan struct{} // closed and replaced by a publish
	largest int           // entries of one publish
}

func newMemBucket() *memBucket {
	return &memBucket{stats: map[string]*holdpb.HoldStat{}, positions: map[int]uint64{}, owed: map[int]bool{}, changed: make(chan struct{})}
}

func (b *memBucket) Generation() string { return "1" }

func (b *memBucket) Publish(_ context.Context, partition int, entries []projection.Entry, to projection.Reached) error {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook != nil { // it may wait, and others come by meanwhile
		if err := hook(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		s := new(holdpb.HoldStat)
		if err := proto.Unmarshal(e.Value, s); err != nil {
			return err
		}
		if was := b.stats[e.Key]; was != nil && was.Position > s.Position {
			b.backwards = errors.New("snapshot of " + e.Key + " stepped back")
		}
		b.stats[e.Key] = s
		b.published++
	}
	if b.positions[partition] > to.Position && !b.mayStepBack {
		b.backwards = errors.New("position stepped back")
	}
	b.positions[partition] = to.Position
	b.largest = max(b.largest, len(entries))
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *memBucket) Position(_ context.Context, partition int) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.positions[partition], nil
}

func (b *memBucket) Owed(_ context.Context, partition int) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owed[partition], nil
}

func (b *memBucket) SetOwed(_ context.Context, partition int, owed bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owed[partition] = owed
	return nil
}

func (b *memBucket) Renew(context.Context) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewed++
	return false, nil
}

func (b *memBucket) Renewals() uint64 { return 0 }

func (b *memBucket) setHook(hook func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

func (b *memBucket) askedFor() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func (b *memBucket) Values(_ context.Context, keys []string) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	values := make([][]byte, len(keys))
	b.asked += len(keys)
	for i, key := range keys {
		if s := b.stats[key]; s != nil {
			values[i], _ = proto.Marshal(s)
		}
	}
	return values, nil
}

// copy is the bucket as it is, or as it was found after a crash.
func (b *memBucket) copy() *memBucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &memBucket{stats: maps.Clone(b.stats), positions: maps.Clone(b.positions), owed: maps.Clone(b.owed), changed: make(chan struct{})}
}

func (b *memBucket) get(holder string) *holdpb.HoldStat {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats[ingest.SubjectToken(holder)]
}

// running is a worker under test.
type running struct {
	*Worker
	stop  context.CancelFunc
	ended chan error
}

// run starts a worker. What stops it is the test.
func run(t testing.TB, cfg Config, log eventLog, bucket snapshots) *running {
	t.Helper()
	if cfg.Now == nil { // before any line ends
		began := time.Now()
		cfg.Now = func() time.Time { return time.Unix(0, logBegin-60*minute).Add(time.Since(began)) }
	}
	w, err := newWorker(cfg, log, bucket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Worker: w, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- w.Run(ctx) }()
	t.Cleanup(stop)
	return r
}

// wait waits until the store has everything of the log, and stops the worker.
func (r *running) finish(t testing.TB, log *memLog) {
	t.Helper()
	for p := range log.partitions {
		if err := r.WaitApplied(context.Background(), p, log.last); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
}
