package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// fleet is several workers on one log, one store and one bucket.
type fleet struct {
	t        *testing.T
	options  func() (string, []nats.Option) // to connect with
	replicas int
	lossy    bool // an event may be acknowledged only when it was sent again
	js       jetstream.JetStream
	log      *ingest.Log
	store    *storetest.Memory
	bucket   *projection.Snapshots
	view     *projection.View
	leases   *lease.View
	producer *ingest.Producer
	began    int64

	mu   sync.Mutex
	sent int
}

// newFleet makes a fleet on a server behind a broker with faults.
func newFleet(t *testing.T, partitions int) *fleet {
	t.Helper()
	s := natstest.Mild(t, natstest.Start(t))
	return openFleet(t, partitions, 1, func() (string, []nats.Option) { return "", []nats.Option{nats.InProcessServer(s)} })
}

// openFleet makes what a fleet stands on.
func openFleet(t *testing.T, partitions, replicas int, options func() (string, []nats.Option)) *fleet {
	t.Helper()
	f := &fleet{t: t, options: options, replicas: replicas, store: storetest.NewMemory(), began: time.Now().Add(-time.Hour).UnixNano()}
	f.js = f.connect()
	f.eventually("open the log", func(ctx context.Context) (err error) {
		f.log, err = ingest.OpenLog(ctx, f.js, ingest.LogConfig{Partitions: partitions, Replicas: replicas})
		return err
	})
	f.eventually("open the bucket", func(ctx context.Context) (err error) {
		f.bucket, err = projection.OpenSnapshots(ctx, f.js, projection.SnapshotConfig{Generation: "1", Replicas: replicas})
		return err
	})
	var err error
	t.Cleanup(f.bucket.Close)
	if f.view, err = f.bucket.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.view.Close() })
	f.leases = lease.Watch(f.js, "1", nil)
	t.Cleanup(f.leases.Close)
	f.producer = ingest.NewProducer(f.log, ingest.ProducerOptions{})
	t.Cleanup(func() { _ = f.producer.Close(context.Background()) })
	return f
}

// eventually tries what a cluster without a leader may refuse.
func (f *fleet) eventually(what string, try func(ctx context.Context) error) {
	f.t.Helper()
	over := time.Now().Add(2 * time.Minute)
	for {
		ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(over) {
			f.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // nobody tells that there is a leader
	}
}

func (f *fleet) connect() jetstream.JetStream {
	f.t.Helper()
	closed := make(chan struct{})
	url, options := f.options()
	nc, err := nats.Connect(url, append(options, nats.Timeout(time.Minute), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		f.t.Fatal(err)
	}
	return js
}

// member is a worker of a fleet.
type fleetWorker struct {
	*Worker
	leases jetstream.JetStream
	stop   context.CancelFunc
	ended  chan error
}

// start starts a worker, with a store and a bucket of its own handles.
func (f *fleet) start(id string, change func(*Config)) *fleetWorker {
	f.t.Helper()
	js := f.connect()
	var log *ingest.Log
	var bucket *projection.Snapshots
	f.eventually("open log and bucket", func(ctx context.Context) (err error) {
		if log, err = ingest.OpenLog(ctx, js, ingest.LogConfig{}); err == nil {
			bucket, err = projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1"})
		}
		return err
	})
	f.t.Cleanup(bucket.Close)
	leases := f.connect()
	cfg := Config{Log: log, Store: f.store, Snapshots: bucket, FlushInterval: 20 * time.Millisecond, Ownership: &Ownership{
		Lease: lease.Config{Generation: "1", Replicas: f.replicas, Worker: id, Lease: time.Minute}, JetStream: leases,
	}}
	if change != nil {
		change(&cfg)
	}
	w := &fleetWorker{leases: leases, ended: make(chan error, 1)}
	var err error
	if w.Worker, err = New(cfg); err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	var running sync.WaitGroup
	running.Go(func() { w.ended <- w.Run(ctx) })
	f.t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return w
}

// finish stops the worker and waits for its end.
func (f *fleet) finish(w *fleetWorker) {
	f.t.Helper()
	w.stop()
	select {
	case err := <-w.ended:
		if err != nil {
			f.t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		f.t.Fatal("the worker does not end")
	}
}

// send records events of some holders, each a hold of a second, and gives their positions.
func (f *fleet) send(holders int) (last uint64) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range holders {
		at := f.began + int64(f.sent)*int64(time.Second)
		d := held(fmt.Sprintf("holder-%d", i), fmt.Sprintf("token-%d", f.sent%3), at, at+int64(time.Second))
		position, err := f.producer.Record(f.t.Context(), &d)
		if err != nil && f.replicas == 1 && !f.lossy {
			f.t.Fatal(err)
		}
		if err != nil {
			// Maybe the log has it all the same; once more is the same fact.
			f.eventually("record", func(ctx context.Context) (err error) {
				position, err = f.producer.Record(ctx, &d)
				return err
			})
		}
		last = max(last, position)
	}
	f.sent++
	return last
}

// applied waits until the snapshots have all that the log has.
func (f *fleet) applied() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	for p := range f.log.Partitions() {
		var end uint64
		f.eventually("the end of the log", func(ctx context.Context) (err error) {
			end, err = f.log.End(ctx, p)
			return err
		})
		err := f.view.WaitPosition(ctx, p, end)
		if err != nil {
			f.t.Fatalf("partition %d: %v; owners %v", p, err, f.leases.Owners())
		}
	}
}

// owned waits until the partitions are shared like this.
func (f *fleet) owned(want map[string]int) {
	f.t.Helper()
	over := time.After(2 * time.Minute)
	for {
		changed := f.leases.Changed()
		have := map[string]int{}
		for _, o := range f.leases.Owners() {
			have[o.Worker]++
		}
		if fmt.Sprint(have) == fmt.Sprint(want) {
			return
		}
		select {
		case <-changed:
		case <-over:
			f.t.Fatalf("owners %v, want %v", have, want)
		}
	}
}

// stored waits until a worker runs a partition and has stored what the log has.
func (f *fleet) stored(w *fleetWorker, partition int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	for {
		// It owns a partition a moment before it runs it.
		err := w.WaitApplied(ctx, partition, 1<<40)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrStopped) {
			f.t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			f.t.Fatal(err)
		case <-time.After(time.Millisecond): // polls what has no event
		}
	}
}

// compare requires of store and snapshots what an undisturbed run comes to.
func (f *fleet) compare() {
	f.t.Helper()
	want := storetest.NewMemory()
	w, err := New(Config{Log: f.log, Store: want})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	end, err := f.log.LastPosition(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for p := range f.log.Partitions() {
		if err := w.WaitApplied(f.t.Context(), p, end); err != nil {
			f.t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		f.t.Fatal(err)
	}
	compareStores(f.t, newMemLog(f.log.Partitions()), want, f.store, true)
	for p := range f.log.Partitions() {
		if err := want.ChangedSince(f.t.Context(), p, 0, func(r *projection.HolderRecord) error {
			value, _ := f.view.Get(ingest.SubjectToken(r.Holder))
			var s holdpb.HoldStat
			if err := proto.Unmarshal(value, &s); err != nil {
				return err
			}
			if s.Position != r.Position || s.ScoreExact != r.Figures.Settled.Score.String() {
				return fmt.Errorf("holder %s: snapshot at %d of %s, stored at %d of %s", r.Holder, s.Position, s.ScoreExact, r.Position, r.Figures.Settled.Score)
			}
			return nil
		}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// forward fails where a snapshot steps back, until ctx ends.
func (f *fleet) forward() (stop func()) {
	watching, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		seen := map[string]uint64{}
		for after := uint64(0); ; {
			changed := f.view.Changed()
			changes, next := f.view.Changes(after, 256)
			if next == after {
				select {
				case <-changed:
				case <-watching.Done():
					return
				}
				continue
			}
			after = next
			for _, c := range changes {
				var s holdpb.HoldStat
				if err := proto.Unmarshal(c.Value, &s); err != nil || s.Position < seen[c.Key] {
					f.t.Errorf("%s steps back from %d to %d, %v", c.Key, seen[c.Key], s.Position, err)
				}
				seen[c.Key] = s.Position
			}
		}
	})
	return func() {
		cancel()
		watch.Wait()
	}
}

// Workers come and go while events come in; each time the shares are even, nothing
// is lost, nothing counts twice and no snapshot steps back.
func TestWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 8)
	defer f.forward()()
	flooding, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() {
		for flooding.Err() == nil {
			f.send(40)
			f.applied()
		}
	})
	defer flood.Wait()
	defer stop()
	a := f.start("a", nil)
	f.owned(map[string]int{"a": 8})
	b := f.start("b", nil)
	f.owned(map[string]int{"a": 4, "b": 4})
	c := f.start("c", nil)
	over := time.After(time.Minute)
	for {
		changed := f.leases.Changed()
		have := map[string]int{}
		for _, o := range f.leases.Owners() {
			have[o.Worker]++
		}
		if len(have) == 3 && min(have["a"], have["b"], have["c"]) == 2 && max(have["a"], have["b"], have["c"]) == 3 {
			break
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("owners %v", have)
		}
	}
	f.finish(a)
	f.owned(map[string]int{"b": 4, "c": 4})
	f.finish(c)
	f.owned(map[string]int{"b": 8})
	stop()
	flood.Wait()
	f.applied()
	for p := range f.log.Partitions() {
		f.stored(b, p)
	}
	for p, s := range b.Status() {
		if s.Partition != p || s.State == Failed || s.Epoch < 2 {
			t.Errorf("status %+v", s)
		}
	}
	f.finish(b)
	f.owned(map[string]int{})
	f.compare()
}

// An owner that sleeps longer than its lease, with its clock, and wakes in the
// middle of a flush and with more to publish, changes nothing.
func TestSleeperChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	defer f.forward()()
	slow := storetest.NewFaulty(f.store)
	began := time.Now()
	a := f.start("a", func(c *Config) {
		c.Store = slow
		c.Ownership.Lease.Lease = time.Second
		c.Ownership.Lease.Now = func() time.Time { return began }
	})
	f.owned(map[string]int{"a": 1})
	f.send(20)
	f.applied()
	f.stored(a, 0)
	// It falls asleep in a flush. What it published before is ahead of its checkpoint.
	entered, release := slow.Stall(storetest.OpFlush)
	f.send(20)
	<-entered
	f.applied()
	a.leases.Conn().Close()

	b := f.start("b", nil)
	f.owned(map[string]int{"b": 1})
	f.stored(b, 0)
	before, _, err := f.store.Checkpoint(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); len(s) != 1 || s[0].State == Failed || s[0].Epoch >= before.Epoch {
		t.Fatalf("the sleeper knows already: %+v, checkpoint %+v", s, before)
	}
	// Awake, it flushes, and it reads more events, which it would publish.
	release()
	f.send(20)
	f.applied()
	gone := time.After(time.Minute)
	for len(a.Status()) > 0 {
		select {
		case <-gone:
			t.Fatalf("the sleeper goes on: %+v", a.Status())
		case <-time.After(time.Millisecond): // polls what has no event
		}
	}
	f.stored(b, 0)
	after, _, err := f.store.Checkpoint(t.Context(), 0)
	if err != nil || after.Epoch != before.Epoch {
		t.Fatalf("checkpoint %+v, before %+v, %v", after, before, err)
	}
	f.finish(b)
	f.compare()
	a.stop()
	<-a.ended
	f.compare()
}

// A worker that is cut off from the leases stops by itself when its lease is over, and
// flushes nothing after it.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	a := f.start("a", func(c *Config) { c.Ownership.Lease.Lease = time.Second })
	f.owned(map[string]int{"a": 2})
	f.send(20)
	f.applied()
	a.leases.Conn().Close()
	b := f.start("b", nil)
	f.owned(map[string]int{"b": 2})
	f.send(20)
	f.applied()
	f.finish(b)
	f.compare()
	a.stop()
	if err := <-a.ended; err != nil && !errors.Is(err, lease.ErrLost) {
		t.Error(err)
	}
}

func TestOwnershipConfig(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	async, err := projection.OpenSnapshots(t.Context(), f.js, projection.SnapshotConfig{Generation: "2", Async: true})
	if err != nil {
		t.Fatal(err)
	}
	defer async.Close()
	for _, c := range []Config{
		{Log: f.log, Store: f.store, Ownership: &Ownership{}, Partitions: []int{0}},
		{Log: f.log, Store: f.store, Ownership: &Ownership{}, Snapshots: async},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Error(err)
		}
	}
	w, err := New(Config{Log: f.log, Store: f.store, Ownership: &Ownership{Lease: lease.Config{Generation: "1", Worker: "not.good"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, lease.ErrConfig) {
		t.Error(err)
	}
}
