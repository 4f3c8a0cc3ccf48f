package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/projection"
)

// A damaged block of a table is found when it is read: its checksum does not match. The
// read returns an error, other blocks can still be read, and from then on Ping returns
// the damage. A damaged manifest or a table that is missing or cut short is found when
// the store is opened. A damaged end of the log of writes is cut off, as after a power
// cut: the checkpoint is then an older one, and the event log has the rest.

// health is what is known of a database that may be damaged.
type health struct {
	dir  string
	log  Logger            // nil: none
	fail func(error) error // takes the store out of service, and returns the reason

	damage  atomic.Pointer[error] // the first that was found; nil: none
	again   repeats               // of what failed in the background
	opening atomic.Bool           // the database is being opened

	broken atomic.Bool   // the database has stopped in the middle of something
	cause  error         // why; to be read after gaveUp
	gaveUp chan struct{} // closed when a goroutine of the database has ended for good
	once   sync.Once
}

// damaged returns the first damage that was found since the store was opened, or nil. It
// wraps [projection.ErrCorrupt] and names the file.
func (h *health) damaged() error {
	if err := h.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// note keeps the first damage, and logs it.
func (h *health) note(err error) {
	if h.damage.CompareAndSwap(nil, &err) && h.log != nil {
		h.log.Errorf("%v", err)
	}
}

// giveUp takes the store out of service in a goroutine of Pebble's, and ends the goroutine.
func (h *health) giveUp(cause error) {
	h.once.Do(func() {
		h.broken.Store(true)
		h.cause = h.fail(cause)
		close(h.gaveUp)
	})
	runtime.Goexit()
}

// corrupted is called by Pebble for each read of a damaged block, also by reads of its
// own.
func (h *health) corrupted(info pebble.DataCorruptionInfo) {
	h.note(corrupt(filepath.Clean(info.Path), info.Details))
}

// backgroundError is called by Pebble when a flush or a compaction has failed, with its
// locks held. It tries a flush again at once and without end, and the opening of the
// database waits for it. So errors that a retry cannot heal end the goroutine after a
// while, and a disk without room is left alone for a moment.
func (h *health) backgroundError(err error) {
	again, first := h.again.note(time.Now())
	if first && h.log != nil {
		h.log.Errorf("the database failed in the background, and tries again: %v", err)
	}
	if isOfSystem(err) && !h.opening.Load() {
		time.Sleep(systemPause)
		return
	}
	if again <= repeatsMost {
		return
	}
	if !isOfSystem(err) {
		err = corrupt("data directory "+h.dir, err)
		h.note(err)
	}
	h.giveUp(err)
}

// isOfSystem reports whether an error is one of the operating system's, such as a disk
// without room. Any other says that a file is not as it was written.
func isOfSystem(err error) bool {
	return errors.As(err, new(syscall.Errno)) && !errors.Is(err, fs.ErrNotExist)
}

// repeats counts events of which each came soon after the one before.
type repeats struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

const (
	repeatsMost   = 16
	repeatsWithin = 2 * time.Second
	systemPause   = 250 * time.Millisecond
)

// note counts an event. It returns how many there were in a row, and whether it is the
// first of a row.
func (r *repeats) note(now time.Time) (count int, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.last) > repeatsWithin {
		r.count = 0
	}
	r.last = now
	r.count++
	return r.count, r.count == 1
}

// open opens a database. It returns an error if a goroutine of the database, for which
// the opening would wait without end, has given up.
func (h *health) open(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	h.opening.Store(true)
	defer h.opening.Store(false)
	opened := make(chan *pebble.DB, 1)
	err = h.unlessGivenUp(func() error {
		db, err := pebble.Open(dir, o)
		opened <- db
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-opened, nil
}

// close closes a database, unless a goroutine of it has given up.
func (h *health) close(db *pebble.DB) error { return h.unlessGivenUp(db.Close) }

// unlessGivenUp runs f, and leaves it alone if a goroutine of the database gives up.
func (h *health) unlessGivenUp(f func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer recoverFatal(&err)
		err = f()
	}()
	select {
	case err := <-done:
		return err
	case <-h.gaveUp:
		return h.cause
	}
}

// ingest has a database take tables in. If it cannot write its manifest, it has stopped
// with its own locks held, and can no longer be closed.
func (h *health) ingest(ctx context.Context, db *pebble.DB, paths []string) (err error) {
	defer func() {
		if fatal := (fatalError{}); errors.As(err, &fatal) {
			h.broken.Store(true)
		}
	}()
	defer recoverFatal(&err)
	return db.Ingest(ctx, paths)
}

// readError says what an operator can do about a read that failed.
func (s *Store) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		what := "data directory " + s.dir
		if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
			what, err = filepath.Clean(info.Path), info.Details
		}
		err = corrupt(what, err)
		s.health.note(err)
		return err
	}
	return fmt.Errorf("embedded: read data directory %s: %w", s.dir, err)
}

// remedy is what an operator can do about a damaged store, which the event log can
// replace at any time.
const remedy = "run 'holdmetrics rebuild --activate', or stop the server and move the store's directory away, and the next start makes it again from the log; or restore a backup"

// corrupt says that a stored value cannot be read.
func corrupt(what string, err error) error {
	return fmt.Errorf("%w: %s: %w; %s", projection.ErrCorrupt, what, err, remedy)
}
