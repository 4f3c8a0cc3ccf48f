package generation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/processor"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

const patience = 20 * time.Second

// shared are stores that several processes share, as a database is.
type shared struct {
	mu      sync.Mutex
	stores  map[string]*storetest.Memory
	dropped map[string]int
}

func (s *shared) Open(_ context.Context, g *Record, _ hold.Rules) (projection.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[g.Name] == nil {
		s.stores[g.Name] = storetest.NewMemory()
	}
	return keeping{s.stores[g.Name]}, nil
}

// keeping is a store that the next process finds again.
type keeping struct{ *storetest.Memory }

func (keeping) Close() error { return nil }

func (s *shared) RemoveLocal(context.Context, string) error { return nil }
func (s *shared) Local() ([]string, error)                  { return nil, nil }

func (s *shared) RemoveShared(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stores, name)
	s.dropped[name]++
	return nil
}

// world is a broker, a log and stores that processes work with.
type world struct {
	t        *testing.T
	conn     *nats.Conn
	js       jetstream.JetStream
	log      *ingest.Log
	registry *Registry
	stores   *shared
}

func newWorld(t *testing.T) *world {
	t.Helper()
	js := connect(t)
	w := &world{t: t, js: js, conn: js.Conn(), stores: &shared{stores: map[string]*storetest.Memory{}, dropped: map[string]int{}}}
	var err error
	if w.log, err = ingest.OpenLog(t.Context(), w.js, ingest.LogConfig{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	if w.registry, err = Open(t.Context(), w.js, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.registry.Begin(t.Context(), Record{Policy: "merge", Version: hold.NoRulesVersion, Built: true, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return w
}

// process is a supervisor that runs.
func (w *world) process(id string) (s *Supervisor, stop func()) {
	w.t.Helper()
	s, err := Start(w.t.Context(), Config{
		Registry: w.registry, Conn: w.conn, Stores: w.stores, ID: id, every: 20 * time.Millisecond,
		Worker: processor.Config{
			Log: w.log, FlushInterval: 10 * time.Millisecond,
			Ownership: &processor.Ownership{Lease: lease.Config{Lease: time.Minute, Worker: id}},
		},
		Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return s, stop
}

// record sends ended holds, and gives the last position.
func (w *world) record(from, to int) {
	w.t.Helper()
	p := ingest.NewProducer(w.log, ingest.ProducerOptions{Limits: hold.DefaultLimits()})
	for i := from; i < to; i++ {
		d := hold.Draft{Token: fmt.Sprintf("T%d", i%2), Holder: fmt.Sprintf("h%d", i%10), Start: hold.StampOf(int64(i+1) * 1e9), End: hold.StampOf(int64(i+3) * 1e9)}
		if _, err := p.Record(w.t.Context(), &d); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := p.Close(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// until waits until something is so.
func (w *world) until(what string, so func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	changed := w.registry.WatchAll(ctx)
	defer func() {
		cancel()
		for range changed {
		}
	}()
	for range changed {
		if so() {
			return
		}
	}
	records, _ := w.registry.List(w.t.Context())
	w.t.Logf("records %+v", records)
	for _, r := range records {
		progress, _ := w.registry.Progress(w.t.Context(), r.Name)
		w.t.Logf("progress of %s: %+v", r.Name, progress)
	}
	w.t.Fatalf("not so: %s", what)
}

func (w *world) built(name string) func() bool {
	return func() bool {
		r, err := w.registry.Get(w.t.Context(), name)
		return err == nil && r.Built
	}
}

func (w *world) create(g Record) {
	w.t.Helper()
	last, err := w.log.LastPosition(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if g.Goal, g.Created = last, time.Now(); g.Until != 0 {
		g.Goal = g.Until
	}
	if g.Policy == "" {
		g.Policy = "merge"
	}
	if err := w.registry.Create(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) compare(a, b string) (Tally, []Difference) {
	w.t.Helper()
	c := Comparison{Conn: w.conn, Partitions: w.log.Partitions(), End: w.log.End}
	var err error
	if c.A, err = w.registry.Get(w.t.Context(), a); err == nil {
		c.B, err = w.registry.Get(w.t.Context(), b)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var found []Difference
	c.Found = func(d *Difference) error {
		found = append(found, *d)
		return nil
	}
	tally, err := c.Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return tally, found
}

// Two processes build a generation between them, keep it up with the log, compare it
// while events come, and let go of it before it is removed.
func TestGenerations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _ := w.process("a")
	b, stopB := w.process("b")
	w.record(0, 200)
	doubled := "tokens:\n  - token: T1\n    multiplier: 2\n"
	w.create(Record{Name: "same", Version: hold.NoRulesVersion})
	w.create(Record{Name: "doubled", Version: "2", Rules: doubled})
	w.create(Record{Name: "early", Version: hold.NoRulesVersion, Until: 1})
	for _, name := range []string{"same", "doubled", "early"} {
		w.until(name+" is built", w.built(name))
	}
	for _, s := range []*Supervisor{a, b} {
		if g, err := s.Active(); err != nil || g.Name != First {
			t.Errorf("%v, %v", g, err)
		}
	}

	// A producer goes on all the while; a pair of it has events in every frame.
	sending, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		for i := 200; ; i += 5 {
			select {
			case <-sending:
				return
			default:
				w.record(i, i+5)
			}
		}
	}()
	if tally, found := w.compare(First, "same"); tally.Holders != 10 || len(found) != 0 {
		t.Errorf("%+v: %+v", tally, found)
	}
	tally, found := w.compare(First, "doubled")
	if tally.Holders != 10 || tally.Different != 5 { // every other event, and so holder, is of T1
		t.Errorf("%+v: %+v", tally, found)
	}
	for _, d := range found {
		if len(d.Figures) == 0 || d.Figures[0].Name != "settled_score" || len(d.Tokens) > 1 || len(d.Tokens) == 1 && d.Tokens[0] != "T1" {
			t.Errorf("%+v", d)
		}
	}
	close(sending)
	<-sent
	if tally, found := w.compare(First, "early"); len(found) != 0 || tally.Later != 10 {
		t.Errorf("%+v: %+v", tally, found)
	}

	// Dead letters are those of the active one, and of one that is prepared.
	deadLetters := func(want map[string]bool) func() bool {
		return func() bool {
			for name, write := range want {
				all, err := w.registry.Progress(t.Context(), name)
				if err != nil || len(all) != 2 || all[0].DeadLetters != write || all[1].DeadLetters != write {
					return false
				}
			}
			return true
		}
	}
	w.until("the active one writes dead letters", deadLetters(map[string]bool{First: true, "same": false}))
	if err := w.registry.Prepare(t.Context(), "same"); err != nil {
		t.Fatal(err)
	}
	w.until("the prepared one writes dead letters", deadLetters(map[string]bool{First: true, "same": true}))
	if err := w.registry.Activate(t.Context(), First, "same", 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.registry.Prepare(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.until("the former one writes none", deadLetters(map[string]bool{First: false, "same": true}))

	// One is paused, and goes on.
	pause := func(paused bool) {
		err := w.registry.Change(t.Context(), "doubled", func(g *Record) error { g.Paused = paused; return nil })
		if err != nil {
			t.Fatal(err)
		}
		w.until("it is paused, or not", func() bool {
			_, err := a.Get("doubled")
			return errors.Is(err, ErrNotHere) == paused
		})
	}
	pause(true)
	pause(false)

	// One process goes; the other one has it all, and the dropped one goes with it.
	stopB()
	if err := w.registry.Change(t.Context(), "doubled", func(g *Record) error { g.Dropped = true; return nil }); err != nil {
		t.Fatal(err)
	}
	w.until("it is gone", func() bool {
		_, err := w.registry.Get(t.Context(), "doubled")
		return errors.Is(err, ErrUnknown)
	})
	if _, err := a.Get("doubled"); !errors.Is(err, ErrNotHere) {
		t.Error(err)
	}
	if w.stores.dropped["doubled"] != 1 {
		t.Errorf("dropped %v", w.stores.dropped)
	}
	for _, bucket := range []string{projection.BucketName("doubled"), lease.Bucket("doubled")} {
		if _, err := w.js.KeyValue(t.Context(), bucket); !errors.Is(err, jetstream.ErrBucketNotFound) {
			t.Errorf("bucket %s: %v", bucket, err)
		}
	}
	if tally, found := w.compare("same", First); tally.Holders != 10 || len(found) != 0 {
		t.Errorf("%+v: %+v", tally, found)
	}
}

// The reason why a generation cannot be opened is reported; the active one goes on.
func TestLastErrorIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.process("a")
	w.create(Record{Name: "broken", Rules: "policy: nonsense\n"})
	w.until("the error is reported", func() bool {
		all, err := w.registry.Progress(t.Context(), "broken")
		return err == nil && len(all) == 1 && all[0].LastError != ""
	})
	if _, err := s.Get("broken"); !errors.Is(err, ErrNotHere) {
		t.Error(err)
	}
	if _, err := s.Active(); err != nil {
		t.Error(err)
	}
	if _, err := Start(t.Context(), Config{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
