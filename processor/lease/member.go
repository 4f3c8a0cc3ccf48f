package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	// requestTimeout bounds one request to the broker where nothing shorter does.
	requestTimeout = 5 * time.Second
	// joinWithin bounds how long a worker waits to know the others; who joins tries
	// again, and says why.
	joinWithin = 15 * time.Second
	// reportEvery is how often a worker says how it does, at least.
	reportEvery = time.Second
	// renewAtOnce is how many renewals are on their way together.
	renewAtOnce = 32
)

// Config says who takes part, and in what.
type Config struct {
	Generation string // of the projections that are owned
	Replicas   int    // of the bucket, where it is made; 0: one
	Lease      time.Duration
	Worker     string // id; letters, digits, '-' and '_'; one process at a time
	Host       string // shown to people
	Version    string
	// Report gives what the worker says of itself whenever it is heard; nil: nothing.
	Report func() json.RawMessage
	// Now is our own clock, by which nothing is compared but with itself; nil: the system's.
	Now    func() time.Time
	Logger *zap.Logger
}

func (c *Config) setDefaults() error {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Lease < Shortest || c.Lease%time.Second != 0 {
		return fmt.Errorf("%w: a lease of %s (hint: whole seconds, which is what the broker counts in)", ErrConfig, c.Lease)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Worker == "" {
		return fmt.Errorf("%w: the worker has no id", ErrConfig)
	}
	for _, r := range c.Worker {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && !('0' <= r && r <= '9') && r != '-' && r != '_' {
			return fmt.Errorf("%w: worker id %q is not made of letters, digits, '-' and '_'", ErrConfig, c.Worker)
		}
	}
	return nil
}

// Member is a worker that takes part. It is safe for concurrent use.
type Member struct {
	cfg     Config
	js      jetstream.JetStream
	session string
	claim   []byte // what our partition keys say
	started time.Time
	view    *View

	putting sync.Mutex // one writing of the worker's key at a time

	mu      sync.Mutex
	kv      jetstream.KeyValue
	leases  map[int]*Lease
	leaving bool
	lastErr error // what keeps it from being written

	touch  chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// Join makes the worker known and returns when it knows the others. It lives
// until Close.
func Join(ctx context.Context, js jetstream.JetStream, cfg Config) (*Member, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	m := &Member{
		cfg: cfg, js: js, session: uuid.NewString(), started: time.Now().UTC().Truncate(time.Second), leases: map[int]*Lease{},
		touch: make(chan struct{}, 1), done: make(chan struct{}),
	}
	m.claim, _ = json.Marshal(Owner{Worker: cfg.Worker, Session: m.session})
	if _, err := m.bucket(ctx); err != nil {
		return nil, err
	}
	if err := m.beat(ctx); err != nil {
		return nil, fmt.Errorf("lease: make worker %s known: %w", cfg.Worker, err)
	}
	m.view = newView(js, cfg.Generation, cfg.Logger)
	m.view.open, m.view.seen = m.reopen, m.saw
	m.view.start()
	within, enough := context.WithTimeout(ctx, joinWithin)
	defer enough()
	select {
	case <-m.view.Ready():
	case <-within.Done():
		m.view.Close()
		return nil, fmt.Errorf("lease: worker %s joins: bucket %s was not read (%w); last error: %w", cfg.Worker, Bucket(cfg.Generation), context.Cause(within), cmp.Or(m.view.err(), errSilent))
	}
	background, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		m.run(background)
	}()
	return m, nil
}

// View is what the member sees of all workers.
func (m *Member) View() *View { return m.view }

// ID is the worker's.
func (m *Member) ID() string { return m.cfg.Worker }

// LeaseTime is how long a lease runs unless it is renewed.
func (m *Member) LeaseTime() time.Duration { return m.cfg.Lease }

// Mine reports whether an owner is this member.
func (m *Member) Mine(o Owner) bool { return o.Session == m.session }

// Target says which partitions of so many this worker should own, as things stand.
func (m *Member) Target(partitions int) map[int]bool {
	mine := map[int]bool{}
	m.mu.Lock()
	leaving := m.leaving
	held := make([]int, 0, len(m.leases))
	for p, l := range m.leases {
		if l.Err() == nil {
			held = append(held, p)
		}
	}
	m.mu.Unlock()
	if leaving {
		return mine
	}
	workers := []string{m.cfg.Worker} // whether or not the bucket says so just now
	for _, w := range m.view.Workers() {
		if !w.Leaving && w.ID != m.cfg.Worker {
			workers = append(workers, w.ID)
		}
	}
	owners := make([]string, partitions)
	for p, o := range m.view.Owners() {
		// A former run of this worker owns nothing: its leases run out.
		if p < partitions && (o.Worker != m.cfg.Worker || o.Session == m.session) {
			owners[p] = o.Worker
		}
	}
	for _, p := range held {
		if p < partitions {
			owners[p] = m.cfg.Worker
		}
	}
	for p, w := range Assign(owners, workers) {
		if w == m.cfg.Worker {
			mine[p] = true
		}
	}
	return mine
}

// Claim takes a partition that nobody owns. The error wraps [ErrTaken] where
// somebody does.
func (m *Member) Claim(ctx context.Context, partition int) (*Lease, error) {
	fail := func(err error) (*Lease, error) {
		return nil, fmt.Errorf("lease: claim partition %d: %w", partition, err)
	}
	m.mu.Lock()
	_, have := m.leases[partition]
	leaving := m.leaving
	m.mu.Unlock()
	if have || leaving {
		return fail(ErrTaken)
	}
	kv, err := m.bucket(ctx)
	if err != nil {
		return fail(err)
	}
	sent := m.cfg.Now()
	revision, err := kv.Create(ctx, partitionKey(partition), m.claim, jetstream.KeyTTL(m.cfg.Lease))
	if err != nil {
		if !errors.Is(err, jetstream.ErrKeyExists) && !refused(err) {
			return fail(err)
		}
		// Maybe our own claim, whose answer was lost.
		mine, at, err := m.holds(ctx, partition)
		if err != nil {
			return fail(err)
		}
		if !mine {
			return fail(ErrTaken)
		}
		sent = m.cfg.Now()
		if revision, err = put(ctx, m.js, Bucket(m.cfg.Generation), partitionKey(partition), m.claim, &at, m.cfg.Lease); err != nil {
			return fail(err)
		}
	}
	l := &Lease{member: m, partition: partition, revision: revision, last: revision, lost: make(chan struct{})}
	l.mu.Lock()
	l.until = sent.Add(m.cfg.Lease)
	l.timer = time.AfterFunc(max(l.until.Sub(m.cfg.Now()), 0), l.expire)
	l.mu.Unlock()
	m.mu.Lock()
	m.leases[partition] = l
	m.mu.Unlock()
	return l, nil
}

// Touch has the worker's report written soon.
func (m *Member) Touch() {
	select {
	case m.touch <- struct{}{}:
	default:
	}
}

// Leave tells the others that this worker gives everything away. It claims
// nothing from then on; what it owns is still renewed.
func (m *Member) Leave(ctx context.Context) error {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	if err := m.beat(ctx); err != nil {
		return fmt.Errorf("lease: say that worker %s leaves: %w", m.cfg.Worker, err)
	}
	return nil
}

// Err is what keeps the worker from being heard; nil while it is.
func (m *Member) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastErr
}

// Close ends everything and takes the worker's key away. Leases that were not
// released run out.
func (m *Member) Close(ctx context.Context) error {
	m.cancel()
	<-m.done
	m.view.Close()
	m.mu.Lock()
	leases := m.leases
	m.leases = map[int]*Lease{}
	m.mu.Unlock()
	for _, l := range leases {
		l.lose()
	}
	kv, err := m.bucket(ctx)
	if err == nil {
		err = kv.Delete(ctx, workerKey(m.cfg.Worker))
	}
	if err != nil {
		return fmt.Errorf("lease: take worker %s away: %w", m.cfg.Worker, err)
	}
	return nil
}

// run renews until ctx ends.
func (m *Member) run(ctx context.Context) {
	every := m.cfg.Lease / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	reports := time.NewTicker(min(every, reportEvery))
	defer reports.Stop()
	for {
		renew := false
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			renew = true
		case <-reports.C:
		case <-m.touch:
		}
		value, err := m.record()
		if err != nil {
			m.cfg.Logger.Error("what the worker says of itself cannot be written", zap.Error(err))
			continue
		}
		// One that takes longer than a tick is tried again; the lease allows for two.
		// Of a long lease too: an answer that is lost must not keep the worker silent.
		round, cancel := context.WithTimeout(ctx, min(every, requestTimeout))
		var group errgroup.Group
		group.SetLimit(renewAtOnce)
		group.Go(func() error { return m.write(round, value) })
		if renew {
			for _, l := range m.held() {
				group.Go(func() error {
					if err := l.renew(round); err != nil && ctx.Err() == nil {
						m.cfg.Logger.Warn("a lease was not renewed", zap.Int("partition", l.partition), zap.Error(err))
					}
					return nil
				})
			}
		}
		if err := group.Wait(); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("the worker could not make itself heard", zap.Error(err))
		}
		cancel()
	}
}

func (m *Member) held() []*Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*Lease, 0, len(m.leases))
	for _, l := range m.leases {
		if l.Err() == nil {
			out = append(out, l)
		}
	}
	return out
}

// beat writes the worker's key.
func (m *Member) beat(ctx context.Context) error {
	value, err := m.record()
	if err != nil {
		return err
	}
	return m.write(ctx, value)
}

// record is what the worker's key is to say.
func (m *Member) record() ([]byte, error) {
	w := Worker{Session: m.session, ID: m.cfg.Worker, Host: m.cfg.Host, Version: m.cfg.Version, Started: m.started}
	if m.cfg.Report != nil {
		w.Report = m.cfg.Report()
	}
	m.mu.Lock()
	w.Leaving = m.leaving
	m.mu.Unlock()
	return json.Marshal(w)
}

func (m *Member) write(ctx context.Context, value []byte) error {
	m.putting.Lock()
	defer m.putting.Unlock()
	_, err := put(ctx, m.js, Bucket(m.cfg.Generation), workerKey(m.cfg.Worker), value, nil, m.cfg.Lease)
	if errors.Is(err, jetstream.ErrNoStreamResponse) && m.view != nil {
		// The bucket may have been deleted.
		if _, again := m.reopen(ctx); again == nil {
			m.view.readAgain()
			_, err = put(ctx, m.js, Bucket(m.cfg.Generation), workerKey(m.cfg.Worker), value, nil, m.cfg.Lease)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastErr = err
	return err
}

// bucket is the bucket, opened once.
func (m *Member) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	m.mu.Lock()
	kv := m.kv
	m.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	return m.reopen(ctx)
}

// reopen finds the bucket again, or makes it again where it was deleted.
func (m *Member) reopen(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := openBucket(ctx, m.js, m.cfg.Generation, m.cfg.Replicas)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kv = kv
	return kv, nil
}

func (m *Member) forget(l *Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leases[l.partition] == l {
		delete(m.leases, l.partition)
	}
}

// saw passes on what the view saw of a partition's key.
func (m *Member) saw(partition int, o *Owner, revision uint64) {
	m.mu.Lock()
	l := m.leases[partition]
	m.mu.Unlock()
	if l != nil {
		l.saw(o != nil && o.Session == m.session, revision)
	}
}
