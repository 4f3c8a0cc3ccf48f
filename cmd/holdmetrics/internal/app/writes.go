package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/projection/embedded"
)

const (
	// leastFree is how much room the disk of a data directory must have for events to be
	// taken; of a small disk it is a freeShare-th. Below it there is room for what the
	// processor still has to write.
	leastFree = 64 << 20
	freeShare = 20
	// startFree is which part of it a start needs.
	startFree = 4
	// writesLook is the time between two looks at the disk, and at the broker's errors.
	writesLook = 500 * time.Millisecond
	// mendFirst and mendMost are the pauses between two tries to open the streams again.
	mendFirst = time.Second
	mendMost  = 30 * time.Second
	// probeWithin bounds one try to write to the log.
	probeWithin = 5 * time.Second
)

// writes knows whether the log of this process takes events: whether the disk has room,
// and whether the embedded broker can write. A broker that could not write once refuses
// all further writes until its streams are opened again, which writes sees to.
type writes struct {
	dir    string
	broker *Broker
	probe  func(context.Context) error // writes to the log
	mended func()                      // the streams were opened again, and may have lost what was not synced
	log    *zap.Logger

	full atomic.Pointer[error] // the disk has no room; nil: it has
	sick atomic.Pointer[error] // the broker cannot write; nil: it can

	pauses backoff.Backoff // between tries to mend
	next   time.Time       // of these
}

// err returns why no event is taken, or nil. It wraps [ingest.ErrNotWritable].
func (w *writes) err() error {
	if err := w.full.Load(); err != nil {
		return *err
	}
	if err := w.sick.Load(); err != nil {
		return *err
	}
	if w.broker.failedToWrite.Load() {
		return errFailedToWrite
	}
	return nil
}

// errFailedToWrite is the state before the first try to mend.
var errFailedToWrite = fmt.Errorf("%w: the broker could not write to its files; its streams are opened again", ingest.ErrNotWritable)

// run looks until ctx ends.
func (w *writes) run(ctx context.Context) error {
	ticker := time.NewTicker(writesLook)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *writes) look(ctx context.Context) {
	w.lookAtDisk()
	if w.full.Load() != nil || !w.broker.failedToWrite.Load() || time.Now().Before(w.next) {
		return
	}
	if w.sick.Load() == nil {
		w.log.Error("no events are taken", zap.Error(errFailedToWrite))
		w.pauses.Reset()
		w.sick.Store(&errFailedToWrite)
	}
	err := w.mend(ctx)
	if err == nil {
		w.mended()
		w.sick.Store(nil)
		w.log.Info("the broker writes again")
		return
	}
	w.broker.failedToWrite.Store(true)
	err = fmt.Errorf("%w: the broker could not write to its files in %s, and does not yet: %w; look at the disk, and at the limit of open files", ingest.ErrNotWritable, w.dir, err)
	w.sick.Store(&err)
	w.next = time.Now().Add(w.pauses.Next())
}

// mend opens the broker's streams again, and tries to write.
func (w *writes) mend(ctx context.Context) error {
	w.broker.failedToWrite.Store(false)
	if err := w.broker.reopen(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	return w.probe(ctx)
}

func (w *writes) lookAtDisk() {
	free, least, err := room(w.dir)
	if err != nil {
		return // what the disk does not say says nothing of its room
	}
	was := w.full.Load()
	if was != nil {
		least += least / 4 // not to and fro
	}
	switch {
	case free >= least && was != nil:
		w.full.Store(nil)
		w.log.Info("the disk has room again; events are taken", zap.String("free", mebibytes(free)))
	case free < least:
		err := fmt.Errorf("%w: the disk of %s is full, with %s left of the %s that must be free: free some space, and events are taken again", ingest.ErrNotWritable, w.dir, mebibytes(free), mebibytes(least))
		w.full.Store(&err)
		if was == nil {
			w.log.Error("no events are taken", zap.Error(err))
		}
	}
}

// room returns how much room the disk of a directory has, and how much it must have for
// events to be taken.
func room(dir string) (free, least uint64, err error) {
	free, total, err := embedded.DiskSpace(dir)
	return free, min(leastFree, total/freeShare), err
}

// roomToStart returns an error if the disk is too full for a start: the broker and the
// store write before they read, and would break.
func roomToStart(dir string) error {
	free, least, err := room(dir)
	if err != nil || free >= least/startFree {
		return nil
	}
	return fmt.Errorf("the disk of the data directory %s is full: %s left, and a start needs %s: free some space, and start again", dir, mebibytes(free), mebibytes(least/startFree))
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
