package projection

import (
	"strconv"
	"strings"
	"sync"
)

// Reached is how far the snapshots of a partition are.
type Reached struct {
	Position uint64 // of the log, of the last message applied
	LogTime  int64  // the log's own time of that message, unix nanoseconds; 0: not known
}

// append appends the value of a position key: the position and, where it is
// known, the log's time, in decimal.
func (r Reached) append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, r.Position, 10)
	if r.LogTime != 0 {
		dst = strconv.AppendInt(append(dst, ' '), r.LogTime, 10)
	}
	return dst
}

func parseReached(b []byte) (r Reached, err error) {
	position, at, timed := strings.Cut(string(b), " ")
	if r.Position, err = strconv.ParseUint(position, 10, 64); err == nil && timed {
		r.LogTime, err = strconv.ParseInt(at, 10, 64)
	}
	return r, err
}

// positions are what the bucket's position keys say, made public only when they
// are true of the view.
//
// A position is written after the snapshots that it stands for, but that does
// not make it true for a reader who is behind. The bucket keeps the last value
// of a key: a snapshot that was written before the position and again after it
// comes to the reader after the position. So a position waits until the reader
// has caught up with the bucket, which is so whenever a message says that none
// is pending behind it.
type positions struct {
	mu     sync.RWMutex
	public map[int]Reached
	staged map[int]Reached // touched by the watch alone
	moved  signal
}

func (p *positions) init() {
	p.public = map[int]Reached{}
	p.staged = map[int]Reached{}
}

func (p *positions) get(partition int) Reached {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.public[partition]
}

// stage takes note of a position; reset forgets what was noted.
func (p *positions) stage(partition int, to Reached) { p.staged[partition] = to }

func (p *positions) reset() { clear(p.staged) }

// publish makes public what was noted.
func (p *positions) publish() {
	if len(p.staged) == 0 {
		return
	}
	p.mu.Lock()
	for partition, to := range p.staged {
		p.public[partition] = to
	}
	p.mu.Unlock()
	clear(p.staged)
	p.moved.raise()
}
