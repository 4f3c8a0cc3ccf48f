package generation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Supervisor runs the generations. It is safe for concurrent use.
type Supervisor struct {
	cfg    Config
	log    *zap.Logger
	failed chan error // why the active generation cannot go on

	running sync.WaitGroup // all that Run waits for
	looking sync.Mutex     // one look at the records at a time, so that none goes by older ones

	mu      sync.Mutex
	members map[string]*member
	dropped map[string]bool // records that are being dropped; true: a goroutine of ours is at it
	active  Active
	prepare Prepare
	changed chan struct{} // closed and replaced when something was opened or closed, or another one is active
}

// member is a generation's time with this process, from its record to its end or
// that of the process. It is opened, again and again where that fails, works, and
// is closed. Its fields are under the supervisor's mu.
type member struct {
	record Record
	stop   context.CancelFunc

	open    *Instance // nil: not open
	letters bool      // it writes dead letters of all that it applies
	trouble error     // why it is not open, or does not work
	stopped error     // of its last flush
}

// Start begins with the active generation, and returns when that is open, or with
// the reason why it cannot be. The others follow in Run, which must be called.
func Start(ctx context.Context, cfg Config) (*Supervisor, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, log: cfg.Logger, failed: make(chan error, 1),
		members: map[string]*member{}, dropped: map[string]bool{}, changed: make(chan struct{}),
	}
	var first Record
	err := cfg.Patiently(ctx, "the generations cannot be read", func(ctx context.Context) (err error) {
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

// Failed receives why the active generation cannot go on. The process should end.
func (s *Supervisor) Failed() <-chan error { return s.failed }

// Get gives a generation that is open here.
func (s *Supervisor) Get(name string) (*Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[name]
	switch {
	case m == nil:
		return nil, fmt.Errorf("%w: generation %s", ErrNotHere, name)
	case m.open == nil && m.trouble != nil:
		return nil, fmt.Errorf("%w: generation %s: %w", ErrNotHere, name, m.trouble)
	case m.open == nil:
		return nil, fmt.Errorf("%w: generation %s is being opened", ErrNotHere, name)
	}
	return m.open, nil
}

// Active gives the generation that is read.
func (s *Supervisor) Active() (*Instance, error) {
	s.mu.Lock()
	name := s.active.Generation
	s.mu.Unlock()
	return s.Get(name)
}

// Changed is closed at the next change of what Get and Active give. Ask for it
// before looking.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// tell says that something has changed. s.mu is held.
func (s *Supervisor) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run works until ctx ends; then it stops all workers, which flush, and closes
// everything. The error is what could not be flushed in time.
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
	s.leaveKept(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
		case _, ok := <-watch:
			if ok {
				s.look(ctx)
			}
			n--
		case <-ticker.C:
			s.report(ctx, n%tellBuilt == 0)
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
			s.log.Debug("the others find out later that this process is gone", zap.Error(err))
		}
	}
	return errors.Join(errs...)
}

// look compares what runs with what is recorded.
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
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("the generations cannot be read; they are looked at again", zap.Error(err))
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != active {
		s.active = active
		s.tell()
	}
	s.prepare = prepare
	wanted, dropped := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		if r.Dropped {
			dropped[r.Name] = s.dropped[r.Name]
		}
		m := s.members[r.Name]
		if m != nil && !m.record.Created.Equal(r.Created) {
			continue // another one of the same name; this one is let go first
		}
		if m != nil {
			m.record = r
		}
		// What is read goes on whatever its record says.
		if r.Name != active.Generation && (r.Paused || r.Dropped) {
			continue
		}
		wanted[r.Name] = true
		if m == nil {
			m = &member{record: r}
			s.members[r.Name] = m
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

// adjust tells the workers who writes dead letters, and how many share the
// memory. s.mu is held.
//
// A generation that is prepared writes letters too, which are the same ones, and
// the one before the active one goes on with those up to the switch. So no letter
// is missing that the one had not written yet and the other did not write.
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
		m.letters = name == s.active.Generation || name == s.prepare.Generation
		switch {
		case m.letters:
			m.open.Worker.SetDeadLetters(math.MaxUint64)
		case name == s.active.Previous:
			m.open.Worker.SetDeadLetters(s.active.At)
		default:
			m.open.Worker.SetDeadLetters(0)
		}
	}
}

// runMember runs a member until it is stopped or ctx ends. s.mu is held.
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

// work opens a member, where it is not open yet, and runs it.
func (s *Supervisor) work(ctx context.Context, m *member) {
	s.mu.Lock()
	g, record := m.open, m.record
	s.mu.Unlock()
	for again := againFirst; g == nil; again = min(2*again, againMost) {
		var err error
		if g, err = s.open(ctx, &record); err == nil {
			break
		}
		g = nil
		if ctx.Err() != nil {
			return
		}
		s.log.Error("a generation could not be opened; it is tried again", zap.String("generation", record.Name), zap.Error(err))
		s.mu.Lock()
		m.trouble = err
		s.mu.Unlock()
		if pause(ctx, again) != nil {
			return
		}
	}
	s.mu.Lock()
	m.open, m.trouble = g, nil
	s.adjust()
	s.tell()
	s.mu.Unlock()
	err := g.Worker.Run(ctx)
	s.mu.Lock()
	if ctx.Err() != nil {
		m.stopped = err
		s.mu.Unlock()
		return
	}
	m.trouble = fmt.Errorf("the processor stopped: %w", err)
	active := s.active.Generation == record.Name
	s.mu.Unlock()
	if active {
		select {
		case s.failed <- m.trouble:
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
	s.tell()
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

// leave takes out a member that was stopped while the process goes on. What this
// process keeps of it goes where it is dropped, and only then the others are told.
func (s *Supervisor) leave(ctx context.Context, m *member) {
	s.mu.Lock()
	name, created, stopped := m.record.Name, m.record.Created, m.stopped
	s.mu.Unlock()
	if stopped != nil {
		s.log.Warn("a generation was stopped before everything was flushed", zap.String("generation", name), zap.Error(stopped))
	}
	err := s.cfg.Patiently(ctx, "a generation cannot be left", func(ctx context.Context) error {
		r, err := s.cfg.Registry.Get(ctx, name)
		if errors.Is(err, ErrUnknown) || err == nil && (r.Dropped || !r.Created.Equal(created)) {
			err = s.cfg.Stores.Leave(ctx, name)
		}
		if err != nil {
			return err
		}
		return s.cfg.Registry.RemoveProgress(ctx, name, s.cfg.ID)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("what is left of a generation could not be removed", zap.String("generation", name), zap.Error(err))
	}
	s.mu.Lock()
	delete(s.members, name)
	s.mu.Unlock()
	s.look(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Names are the generations that this process has to do with, in order.
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
