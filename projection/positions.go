package projection

import "sync"

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
	public map[int]uint64
	staged map[int]uint64 // touched by the watch alone
	moved  signal
}

func (p *positions) init() {
	p.public = map[int]uint64{}
	p.staged = map[int]uint64{}
}

func (p *positions) get(partition int) uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.public[partition]
}

// stage takes note of a position; reset forgets what was noted.
func (p *positions) stage(partition int, position uint64) { p.staged[partition] = position }

func (p *positions) reset() { clear(p.staged) }

// publish makes public what was noted.
func (p *positions) publish() {
	if len(p.staged) == 0 {
		return
	}
	p.mu.Lock()
	for partition, position := range p.staged {
		p.public[partition] = position
	}
	p.mu.Unlock()
	clear(p.staged)
	p.moved.raise()
}
