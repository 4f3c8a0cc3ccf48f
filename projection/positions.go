package projection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
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

// ReadPositions reads how far the snapshots of a generation are, by partition, without a
// watch. Partitions that were never published are absent.
func ReadPositions(ctx context.Context, js jetstream.JetStream, generation string, partitions int) (map[int]Reached, error) {
	bucket, err := js.KeyValue(ctx, BucketName(generation))
	if err != nil {
		return nil, fmt.Errorf("projection: open the snapshots of generation %s: %w", generation, err)
	}
	all := map[int]Reached{}
	for p := range partitions {
		entry, err := bucket.Get(ctx, positionKey(p))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("projection: read the position of partition %d: %w", p, err)
		}
		if at, err := parseReached(entry.Value()); err == nil {
			all[p] = at
		}
	}
	return all, nil
}

// positions are what the bucket's position keys say, shown only when they are true
// of the view (see watchPass).
type positions struct {
	mu      sync.RWMutex
	public  map[int]Reached
	shownTo map[int]Reached // by the owner, whose word is later than the bucket's
	moved   signal

	// What is staged is touched behind the view's gate. A position that was armed when
	// a question was asked outlives newer ones until it is answered: under load every
	// position that is known to be true has been superseded by one that is not yet.
	staged, armed map[int]stagedPosition
	shown         uint64 // up to this sequence all that was staged is public
}

type stagedPosition struct {
	to       Reached
	sequence uint64 // of its message in the bucket
}

func (p *positions) init() {
	p.public = map[int]Reached{}
	p.shownTo = map[int]Reached{}
	p.staged = map[int]stagedPosition{}
	p.armed = map[int]stagedPosition{}
}

func (p *positions) get(partition int) Reached {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.public[partition]
}

// stage takes note of a position; reset forgets what was noted.
func (p *positions) stage(partition int, to Reached, sequence uint64) {
	p.staged[partition] = stagedPosition{to, sequence}
}

func (p *positions) reset() {
	clear(p.staged)
	clear(p.armed)
	p.shown = 0
}

// arm keeps what is staged now until it is public.
func (p *positions) arm() { maps.Copy(p.armed, p.staged) }

// publish makes public what came up to a sequence, and reports whether nothing is
// left.
func (p *positions) publish(upTo uint64) (all bool) {
	if upTo > p.shown {
		p.shown = upTo
		moved := p.take(p.armed, upTo) // the older ones first
		moved = p.take(p.staged, upTo) || moved
		if moved {
			p.moved.raise()
		}
	}
	return len(p.staged) == 0
}

func (p *positions) take(from map[int]stagedPosition, upTo uint64) (moved bool) {
	if len(from) == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition, s := range from {
		if s.sequence <= upTo {
			// Where another view was opened, the owner leaves it to the bucket for a while.
			if _, shown := p.shownTo[partition]; !shown || s.to.Position > p.public[partition].Position {
				p.public[partition] = s.to
			}
			delete(from, partition)
			moved = true
		}
	}
	return moved
}

// show takes over positions of the owner. They are public once the view is complete.
func (p *positions) show(to map[int]Reached, complete bool) {
	p.mu.Lock()
	for partition, at := range to {
		p.shownTo[partition] = at
		if complete {
			p.public[partition] = at
		}
	}
	p.mu.Unlock()
	if complete {
		p.moved.raise()
	}
}

// showAll makes public what the owner has shown so far.
func (p *positions) showAll() {
	p.mu.Lock()
	maps.Copy(p.public, p.shownTo)
	p.mu.Unlock()
	p.moved.raise()
}
