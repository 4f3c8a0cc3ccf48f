package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// Store is a projection.Store in a data directory. It is safe for concurrent
// use. Flushes of one partition take turns; those of several share their fsyncs.
type Store struct {
	dir   string
	db    *pebble.DB
	cache func() // lets go of the cache
	lock  *pebble.Lock

	files     vfs.FS
	options   *pebble.Options // as the database has them
	bulkBytes int             // from which size on a flush goes as tables
	tables    atomic.Uint64   // names of tables that were given away
	health    health

	mu     sync.Mutex
	closed error // why the store takes no more calls; nil: it does
	inUse  inuse.Count

	closing     sync.Mutex    // held for a whole Close
	closeWithin time.Duration // how long it waits for what is open
	failed      error         // why the store took no more calls before it was closed
	released    bool

	partitionsMu sync.Mutex
	partitions   map[int]*partition

	metaMu sync.Mutex
}

var _ projection.Store = (*Store)(nil)

// partition is what a flush needs of its partition. Nobody else writes to the
// directory, so the checkpoint is read once and known from then on.
type partition struct {
	mu         sync.Mutex // held for a whole flush
	known      bool
	checkpoint projection.Checkpoint
}

// Open opens the store in a directory, and creates it if it does not exist.
//
// Errors wrap [projection.ErrLocked] where a process has the directory open,
// [projection.ErrForeign] where something else lives in it, and
// [projection.ErrCorrupt] where it is damaged.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded: make data directory %s: %w", dir, err)
	}
	fresh, err := checkDirectory(dir, o.fs)
	if err != nil {
		return nil, err
	}
	lock, err := lockDirectory(dir, o.fs)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, lock: lock, files: o.fs, bulkBytes: o.bulkBytes, closeWithin: o.closeWithin, partitions: map[int]*partition{}}
	s.health = health{dir: dir, log: o.Logger, fail: s.fail, gaveUp: make(chan struct{})}
	if err := s.open(&o, fresh); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) open(o *Options, fresh bool) (err error) {
	defer recoverFatal(&err)
	var blocks *pebble.Cache
	if o.Cache != nil {
		blocks, s.cache = o.Cache.blocks, o.Cache.enter()
	} else {
		blocks = pebble.NewCache(o.cacheSize())
		s.cache = blocks.Unref
	}
	p := o.pebbleOptions(blocks, &s.health)
	p.Lock = s.lock
	p.ErrorIfNotExists = !fresh
	if err := removeTables(s.dir, o.fs); err != nil {
		return err
	}
	p.EnsureDefaults()
	s.options = p
	switch s.db, err = s.health.open(s.dir, p); {
	case err != nil && s.health.broken.Load():
		return err
	case err != nil:
		return s.openError(err)
	}
	return s.checkFormat(fresh)
}

// release gives up what Open took. It is for a store that no call uses.
func (s *Store) release() (err error) {
	if s.db != nil && !s.health.broken.Load() {
		err = s.health.close(s.db)
	}
	if s.cache != nil {
		s.cache()
	}
	return errors.Join(err, s.lock.Close())
}

// lockDirectory takes the directory for this process.
func lockDirectory(dir string, files filesystem) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, files)
	if err == nil {
		return lock, nil
	}
	// A lock that is held comes as a bare error number, or as a message of
	// Pebble's where the holder is this very process; a lock file that cannot be
	// made (no permission, read-only disk) comes as a path error.
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("embedded: lock data directory %s: %w", dir, err)
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("%w: another process holds %s; stop it, or choose another data directory", projection.ErrLocked, dir)
	}
	return nil, fmt.Errorf("%w: %s: %w; close the other store, or choose another data directory", projection.ErrLocked, dir, err)
}

// Ping reads from the database. It returns an error after a write that failed, which
// takes the store out of service, after damage was found, and after Close.
func (s *Store) Ping(ctx context.Context) (err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer recoverFatal(&err)
	if err := s.health.damaged(); err != nil {
		return err
	}
	value, closer, err := s.db.Get(formatKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return corrupt("data directory "+s.dir, errors.New("its format is gone"))
	case err != nil:
		return s.readError(err)
	case string(value) != formatText:
		err = corrupt("data directory "+s.dir, fmt.Errorf("its format has become %q", value))
	}
	return errors.Join(err, closer.Close())
}

// Capabilities of the store: a flush is one atomic batch, and of a change it keeps the
// pages alone. One process has it open.
func (s *Store) Capabilities() projection.Capabilities {
	return projection.Capabilities{AtomicFlush: true, ReadsPages: true, IgnoresFacts: true}
}

// Claim is not for a store of one process.
func (s *Store) Claim(context.Context, int, uint64) (projection.Checkpoint, bool, error) {
	return projection.Checkpoint{}, false, projection.ErrUnsupported
}

// RemoveSealed is not for a store that keeps no facts.
func (s *Store) RemoveSealed(context.Context, int) (more bool, err error) {
	return false, projection.ErrUnsupported
}

// Close waits until the calls under way have ended and open views are closed, and gives
// the directory up. Calls after it return [projection.ErrClosed].
//
// If something is still open after a minute, the error says how much. The store then
// keeps the directory, since a view reads from it, and Close may be called again.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.released {
		return nil
	}
	s.mu.Lock()
	if !errors.Is(s.closed, errClosedByUser) {
		s.failed, s.closed = s.closed, errClosedByUser
	}
	s.mu.Unlock()
	within := s.closeWithin
	if s.health.broken.Load() {
		within = min(within, brokenWithin) // a call that waits for the database does so for ever
	}
	if err := s.inUse.Wait(within); err != nil {
		return errors.Join(s.failed, fmt.Errorf("embedded: close data directory %s: %w; end them, then close the store again", s.dir, err))
	}
	s.released = true
	err := s.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		// What the database says on its way out after it failed is not news.
		return s.failed
	}
	return err
}

var errClosedByUser = fmt.Errorf("%w: the store was closed", projection.ErrClosed)

// enter begins a call; leave ends it. A store that failed takes no calls: what
// is in memory may be ahead of the disk.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	return s.enterAs(ctx, (*inuse.Count).Call)
}

func (s *Store) enterAs(ctx context.Context, count func(*inuse.Count) func()) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return nil, s.closed
	}
	return count(&s.inUse), nil
}

// fail takes the store out of service and returns why.
func (s *Store) fail(cause error) error {
	err := fmt.Errorf("%w: the data directory %s cannot be written: %w; look at the disk, then start again",
		projection.ErrClosed, s.dir, cause)
	if damage := s.health.damaged(); damage != nil && !isOfSystem(cause) {
		err = fmt.Errorf("%w: %w", projection.ErrClosed, damage)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed == nil:
		s.closed = err
	case errors.Is(s.closed, errClosedByUser) && s.failed == nil:
		s.failed = err // Close is under way, and returns it
	}
	return err
}

func (s *Store) partition(p int) *partition {
	s.partitionsMu.Lock()
	defer s.partitionsMu.Unlock()
	part := s.partitions[p]
	if part == nil {
		part = &partition{}
		s.partitions[p] = part
	}
	return part
}

func checkPartition(p int) error {
	if p < 0 || p >= maxPartition {
		return fmt.Errorf("%w: partition %d is not between 0 and %d", projection.ErrBatch, p, maxPartition-1)
	}
	return nil
}

var errViewClosed = fmt.Errorf("%w: the view was closed", projection.ErrClosed)
