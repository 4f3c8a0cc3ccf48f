package generation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
)

// Supervisor runs a worker for each generation on record. It is safe for concurrent use.
type Supervisor struct {
	cfg    Config
	log    *zap.Logger
	failed chan error // why the active generation cannot go on

	running sync.WaitGroup // all that Run waits for
	looking sync.Mutex     // one look at the records at a time, so that no older one is acted on last
	behind  atomic.Bool    // the last look failed

	mu      sync.Mutex
	members map[string]*member
	dropped map[string]bool // records that are being dropped; true: a goroutine works on it
	active  Active
	prepare Prepare
	changed chan struct{} // closed and replaced when something was opened or closed, or another one is active
}

// member is a generation in this process, from its record to its end or that of the
// process. It is opened, which is retried, then runs, and is closed. The supervisor's mu
// guards its fields.
type member struct {
	record Record
	stop   context.CancelFunc

	open        *Instance // nil: not open
	deadLetters bool      // it writes dead letters of all that it applies
	lastErr     error     // why it is not open, or does not work
	stopped     error     // of its last flush
}

// Start opens the active generation, and returns when it is open or cannot be opened.
// Run, which must be called, opens the others.
func Start(ctx context.Context, cfg Config) (*Supervisor, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, log: cfg.Logger, failed: make(chan error, 1),
		members: map[string]*member{}, dropped: map[string]bool{}, changed: make(chan struct{}),
	}
	var first Record
	err := cfg.Retry(ctx, "the generations cannot be read", func(ctx context.Context) (err error) {
		if s.active, err = cfg.Registry.Active(ctx); err == nil {
			first, err = cfg.Registry.Get(ctx, s.active.Generation)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	g, err := s.open(ctx, &first)
	if err != nil {
		return nil, err
	}
	s.members[first.Name] = &member{record: first, open: g}
	s.adjust()
	return s, nil
}

// Failed receives the reason why the active generation cannot go on. The process should
// end then.
func (s *Supervisor) Failed() <-chan error { return s.failed }

// Get returns a generation that is open in this process, or [ErrNotHere].
func (s *Supervisor) Get(name string) (*Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[name]
	switch {
	case m == nil:
		return nil, fmt.Errorf("%w: generation %s", ErrNotHere, name)
	case m.open == nil && m.lastErr != nil:
		return nil, fmt.Errorf("%w: generation %s: %w", ErrNotHere, name, m.lastErr)
	case m.open == nil:
		return nil, fmt.Errorf("%w: generation %s is being opened", ErrNotHere, name)
	}
	return m.open, nil
}

// Active returns the generation that is read.
func (s *Supervisor) Active() (*Instance, error) {
	s.mu.Lock()
	name := s.active.Generation
	s.mu.Unlock()
	return s.Get(name)
}

// Changed returns a channel that is closed at the next change of what Get and Active
// return. Call it before them.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// notify wakes those who wait for a change. s.mu is held.
func (s *Supervisor) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run runs the generations until ctx ends. Then it stops all workers, which flush, and
// closes everything. The error is what could not be flushed.
//
// It looks at the records with each change, at least every 30 seconds, and a second after
// a look that failed.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	for _, m := range s.members {
		s.runMember(ctx, m)
	}
	s.mu.Unlock()
	watching, stop := context.WithCancel(ctx)
	watch := s.cfg.Registry.Watch(watching)
	ticker := time.NewTicker(s.cfg.every)
	defer ticker.Stop()
	s.removeLeftovers(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
		case _, ok := <-watch:
			if ok {
				s.look(ctx)
			}
			n--
		case <-ticker.C:
			if s.behind.Load() {
				s.look(ctx)
			}
			s.report(ctx, n%reportBuilt == 0)
			s.drop(ctx)
		}
	}
	stop()
	for range watch {
	}
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	for name, m := range s.members {
		errs = append(errs, m.stopped)
		if err := s.cfg.Registry.RemoveProgress(ending, name, s.cfg.ID); err != nil {
			s.log.Debug("cannot remove the report of this process; it expires", zap.Error(err))
		}
	}
	return errors.Join(errs...)
}

// look starts and stops members by the records.
func (s *Supervisor) look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	records, err := s.cfg.Registry.List(within)
	var active Active
	var prepare Prepare
	if err == nil {
		active, err = s.cfg.Registry.Active(within)
	}
	if err == nil {
		prepare, err = s.cfg.Registry.Prepared(within)
	}
	s.behind.Store(err != nil)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("cannot read the generations; retrying", zap.Error(err))
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != active {
		if was := s.active.Generation; was != "" && was != active.Generation {
			s.log.Info("generation activated", zap.String("generation", active.Generation), zap.String("from", was))
		}
		s.active = active
		s.notify()
	}
	if s.prepare != prepare && prepare.Generation != "" {
		s.log.Info("generation prepared", zap.String("generation", prepare.Generation))
	}
	s.prepare = prepare
	wanted, dropped := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		if r.Dropped {
			dropped[r.Name] = s.dropped[r.Name]
		}
		m := s.members[r.Name]
		if m != nil && !m.record.Created.Equal(r.Created) {
			continue // another one of the same name; this one is closed first
		}
		if m != nil {
			m.record = r
		}
		// The active generation runs, whatever its record says.
		if r.Name != active.Generation && (r.Paused || r.Dropped) {
			continue
		}
		wanted[r.Name] = true
		if m == nil {
			m = &member{record: r}
			s.members[r.Name] = m
			s.log.Info("generation opened", zap.String("generation", r.Name), zap.String("rules", r.Version), zap.Bool("active", r.Name == active.Generation), zap.Bool("built", r.Built))
			s.runMember(ctx, m)
		}
	}
	for name, m := range s.members {
		if !wanted[name] && name != active.Generation {
			m.stop()
		}
	}
	s.dropped = dropped
	s.adjust()
}

// adjust sets which workers write dead letters, and how many share the memory. s.mu is
// held.
//
// A prepared generation writes dead letters too, which are the same, and the previous one
// goes on writing those up to the switch. So none is missing that the one had not written
// yet when the other began.
func (s *Supervisor) adjust() {
	open := 0
	for _, m := range s.members {
		if m.open != nil {
			open++
		}
	}
	for name, m := range s.members {
		if m.open == nil {
			continue
		}
		m.open.Worker.SetBeside(open)
		m.deadLetters = name == s.active.Generation || name == s.prepare.Generation
		switch {
		case m.deadLetters:
			m.open.Worker.SetDeadLetters(math.MaxUint64)
		case name == s.active.Previous:
			m.open.Worker.SetDeadLetters(s.active.At)
		default:
			m.open.Worker.SetDeadLetters(0)
		}
	}
}

// runMember starts a member, which runs until it is stopped or ctx ends. s.mu is held.
func (s *Supervisor) runMember(ctx context.Context, m *member) {
	var own context.Context
	own, m.stop = context.WithCancel(ctx)
	s.running.Go(func() {
		s.work(own, m)
		s.close(m)
		if ctx.Err() == nil {
			s.leave(ctx, m)
		}
	})
}

// work opens a member, unless it is open, and runs it.
func (s *Supervisor) work(ctx context.Context, m *member) {
	s.mu.Lock()
	g, record := m.open, m.record
	s.mu.Unlock()
	for pauses := (backoff.Backoff{First: againFirst, Most: againMost}); g == nil; {
		var err error
		if g, err = s.open(ctx, &record); err == nil {
			break
		}
		g = nil
		if ctx.Err() != nil {
			return
		}
		s.log.Error("cannot open a generation; retrying", zap.String("generation", record.Name), zap.Error(err))
		s.mu.Lock()
		m.lastErr = err
		s.mu.Unlock()
		if pauses.Wait(ctx) != nil {
			return
		}
	}
	s.mu.Lock()
	m.open, m.lastErr = g, nil
	s.adjust()
	s.notify()
	s.mu.Unlock()
	err := g.Worker.Run(ctx)
	s.mu.Lock()
	if ctx.Err() != nil {
		m.stopped = err
		s.mu.Unlock()
		return
	}
	m.lastErr = fmt.Errorf("the processor stopped: %w", err)
	active := s.active.Generation == record.Name
	s.mu.Unlock()
	// With a damaged log the process goes on: what is stored can still be read, and it
	// says why it takes no events.
	if active && !errors.Is(err, ingest.ErrLogDamaged) {
		select {
		case s.failed <- m.lastErr:
		default:
		}
	} else {
		s.log.Error("a generation has stopped", zap.String("generation", record.Name), zap.Error(err))
	}
	<-ctx.Done()
}

// close closes a member, whose worker has ended.
func (s *Supervisor) close(m *member) {
	s.mu.Lock()
	g := m.open
	m.open = nil
	s.adjust()
	s.notify()
	s.mu.Unlock()
	if g == nil {
		return
	}
	if err := g.close(); err != nil {
		s.mu.Lock()
		m.stopped = errors.Join(m.stopped, err)
		s.mu.Unlock()
	}
}

// leave removes a member that was stopped while the process goes on. If it is dropped,
// what this process keeps of it is removed before its report is.
func (s *Supervisor) leave(ctx context.Context, m *member) {
	s.mu.Lock()
	name, created, stopped := m.record.Name, m.record.Created, m.stopped
	s.mu.Unlock()
	if stopped != nil {
		s.log.Warn("a generation was stopped before everything was flushed", zap.String("generation", name), zap.Error(stopped))
	}
	err := s.cfg.Retry(ctx, "the leftovers of a generation cannot be removed", func(ctx context.Context) error {
		r, err := s.cfg.Registry.Get(ctx, name)
		if errors.Is(err, ErrUnknown) || err == nil && (r.Dropped || !r.Created.Equal(created)) {
			err = s.cfg.Stores.RemoveLocal(ctx, name)
		}
		if err != nil {
			return err
		}
		return s.cfg.Registry.RemoveProgress(ctx, name, s.cfg.ID)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("cannot remove the leftovers of a generation", zap.String("generation", name), zap.Error(err))
	}
	s.mu.Lock()
	delete(s.members, name)
	s.mu.Unlock()
	s.look(ctx)
}

// Names returns the generations that this process works on, in order.
func (s *Supervisor) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.members))
	for name := range s.members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
