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
	// The disk of a data directory must have a freeShare-th of it free for events to be
	// taken, from leastFree to mostFree, and of a small disk a smallShare-th at most. Below
	// that there is room for what the processor still has to write.
	leastFree, mostFree   = 64 << 20, 256 << 20
	freeShare, smallShare = 50, 20
	// startFree is which part of it a start needs.
	startFree = 4
	// writesLook is the time between two looks at the disk, and at the broker's errors.
	writesLook = 500 * time.Millisecond
	// mendFirst and mendMost are the pauses between two tries to start the broker again.
	mendFirst = time.Second
	mendMost  = 30 * time.Second
	// filesReserve is how many files the log must be able to open.
	filesReserve = 16
	// probeWithin bounds one try to write to the log.
	probeWithin = 5 * time.Second
)

// writes knows whether the log of this process takes events: whether the disk has room,
// whether files can be opened, and whether the embedded broker can write. A broker that
// could not write once refuses all further writes of that stream until it is started
// again, which writes sees to.
type writes struct {
	dir    string
	wanted int64 // bytes that must be free; 0: by the size of the disk
	broker *Broker
	probe  func(context.Context) error // writes to the log
	mended func()                      // the broker was started again, and may have lost what was not synced
	log    *zap.Logger

	full  condition // the disk has no room
	files condition // hardly another file can be opened
	sick  condition // the broker cannot write

	pauses backoff.Backoff // between tries to mend
	next   time.Time       // of these
}

// err returns why no event is taken, and since when, or nil. It wraps
// [ingest.ErrNotWritable].
func (w *writes) err() error {
	for _, c := range []*condition{&w.full, &w.files, &w.sick} {
		if err := c.err(); err != nil {
			return err
		}
	}
	if w.broker.failedToWrite() {
		return errFailedToWrite
	}
	return nil
}

// errFailedToWrite is the state before the first try to mend.
var errFailedToWrite = fmt.Errorf("%w: the broker could not write to its files; it is started again", ingest.ErrNotWritable)

// condition is something that is wrong for a while. It is safe for concurrent use.
type condition struct{ now atomic.Pointer[wrongSince] }

// wrongSince is what is wrong, and since when.
type wrongSince struct {
	err   error
	since time.Time
}

// set sets what is wrong; nil: nothing. It reports whether anything was wrong before.
func (c *condition) set(err error) (before bool) {
	was := c.now.Load()
	switch {
	case err == nil:
		c.now.Store(nil)
	case was == nil:
		c.now.Store(&wrongSince{err, time.Now()})
	default:
		c.now.Store(&wrongSince{err, was.since})
	}
	return was != nil
}

// holds reports whether anything is wrong.
func (c *condition) holds() bool { return c.now.Load() != nil }

// err returns what is wrong and since when, or nil.
func (c *condition) err() error {
	if now := c.now.Load(); now != nil {
		return fmt.Errorf("%w (since %s)", now.err, now.since.UTC().Format(time.RFC3339))
	}
	return nil
}

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
	w.lookAtFiles()
	if w.full.holds() || w.files.holds() || !w.isSick() || time.Now().Before(w.next) {
		return
	}
	if !w.sick.set(errFailedToWrite) {
		w.log.Error("no events are taken", zap.Error(errFailedToWrite))
		w.pauses.Reset()
	}
	err := w.mend(ctx)
	if err == nil {
		w.mended()
		w.sick.set(nil)
		w.log.Info("the broker writes again")
		return
	}
	w.sick.set(fmt.Errorf("%w: the broker could not write to its files in %s, and does not yet: %w; look at the disk, and at the limit of open files", ingest.ErrNotWritable, w.dir, err))
	w.next = time.Now().Add(w.pauses.Next())
}

// lookAtFiles looks whether the log, which opens files as it grows, can open some.
func (w *writes) lookAtFiles() {
	if filesLeft(filesReserve) {
		if w.files.set(nil) {
			w.log.Info("files can be opened again; events are taken")
		}
		return
	}
	err := fmt.Errorf("%w: the process has all but a few of the %d files open that it may: close connections, or raise the limit (ulimit -n)", ingest.ErrNotWritable, fileLimit())
	if !w.files.set(err) {
		w.log.Error("no events are taken", zap.Error(err))
	}
}

// isSick reports whether the broker cannot write, or could not when that was tried last.
func (w *writes) isSick() bool { return w.sick.holds() || w.broker.failedToWrite() }

// mend starts the broker again, and tries to write.
func (w *writes) mend(ctx context.Context) error {
	if err := w.broker.reopen(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	return w.probe(ctx)
}

func (w *writes) lookAtDisk() {
	free, least, err := room(w.dir, w.wanted)
	if err != nil {
		return // what the disk does not say says nothing of its room
	}
	was := w.full.holds()
	if was {
		least += least / 4 // not to and fro
	}
	switch {
	case free >= least && was:
		w.full.set(nil)
		w.log.Info("the disk has room again; events are taken", zap.String("free", mebibytes(free)))
	case free < least:
		err := fmt.Errorf("%w: the disk of %s is full, with %s left of the %s that must be free: free some space, and events are taken again", ingest.ErrNotWritable, w.dir, mebibytes(free), mebibytes(least))
		w.full.set(err)
		if !was {
			w.log.Error("no events are taken", zap.Error(err))
		}
	}
}

// room returns how much room the disk of a directory has, and how much it must have for
// events to be taken: so much, or by its size if that is 0.
func room(dir string, wanted int64) (free, least uint64, err error) {
	free, total, err := embedded.DiskSpace(dir)
	if wanted > 0 {
		return free, uint64(wanted), err
	}
	return free, leastOf(total), err
}

// room returns the room of the data directory's disk, for the metrics.
func (n *process) room() (free, least, total uint64, err error) {
	free, total, err = embedded.DiskSpace(n.settings.DataDir)
	if least = leastOf(total); n.settings.Bounds.MinFree > 0 {
		least = uint64(n.settings.Bounds.MinFree)
	}
	return free, least, total, err
}

// leastOf is how much of a disk must be free.
func leastOf(total uint64) uint64 {
	return min(max(total/freeShare, leastFree), mostFree, total/smallShare)
}

// roomToStart returns an error if the disk is too full for a start: the broker and the
// store write before they read, and would break.
func roomToStart(dir string) error {
	free, least, err := room(dir, 0)
	if err != nil || free >= least/startFree {
		return nil
	}
	return fmt.Errorf("the disk of the data directory %s is full: %s left, and a start needs %s: free some space, and start again", dir, mebibytes(free), mebibytes(least/startFree))
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
