package processor

import (
	"context"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// batch is what one round of reading comes to. Its memory is used again.
type batch struct {
	clock      int64       // log time, up to the message that is decoded
	limits     hold.Limits // of the message that is decoded
	items      []item
	newHolders []*holder // entered by this batch, to be loaded
	newPairs   []*pair
	letters    []ingest.DeadLetter
	rejected   map[string]uint64 // by reason
	excluded   int               // events of holders whom the rules exclude
	horizon    int64             // up to the message that is decoded; see judged
	judged     []judged          // the items that came under a horizon: the last ones
	refused    int               // of those, the ones that their pairs refused

	letterBytes int
}

func (b *batch) reset(clock, horizon int64) {
	clear(b.judged)
	clear(b.items)
	clear(b.newHolders)
	clear(b.newPairs)
	*b = batch{clock: clock, horizon: horizon, judged: b.judged[:0], items: b.items[:0], newHolders: b.newHolders[:0], newPairs: b.newPairs[:0], rejected: b.rejected}
	clear(b.rejected)
}

// Estimates of what an event and a pair add to the next flush.
const (
	dirtyEventBytes  = 128 // the fact, kept beside the pair until the flush
	pagedEventBytes  = 32  // the fact in its page
	dirtyPairBytes   = 512
	dirtyHolderBytes = 256
)

// dirtyEvent is what one more event adds to the next flush.
func (p *partition) dirtyEvent() int {
	if p.paged {
		return pagedEventBytes
	}
	return dirtyEventBytes
}

// process applies the messages of one round. An error means that the partition
// cannot go on: nothing of them was applied, or a pair was lost half-way.
func (p *partition) process(ctx context.Context, messages []message) error {
	if len(messages) == 0 {
		return nil
	}
	p.applying()
	b := &p.batch
	b.reset(p.clock, p.horizon)
	if err := p.readSeals(ctx, messages); err != nil {
		return err
	}
	// A message that comes again, or after a later one, was applied. Counted again it
	// would make no score wrong, but the number of events, and a position that steps
	// back would end the partition at its next checkpoint.
	var last *message
	for i, at := 0, p.position; i < len(messages); i++ {
		if m := &messages[i]; m.position > at {
			last, at = m, m.position
			p.decode(m)
		}
	}
	if last == nil {
		p.settled += uint64(len(messages))
		return nil
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	duplicates := p.add(b.items[:len(b.items)-len(b.judged)])
	duplicates += p.judge(b.items[len(b.items)-len(b.judged):], b.judged)
	if p.lost != nil {
		return p.lost
	}
	p.position, p.clock, p.pending = last.position, b.clock, last.pending
	p.events += uint64(len(b.items) - b.refused + b.excluded)
	p.raise(b.horizon)
	p.excluded += uint64(b.excluded)
	rejected := 0
	for _, n := range b.rejected {
		rejected += int(n)
	}
	p.rejected += uint64(rejected)
	p.taken += uint64(len(b.items) + b.excluded + rejected)
	p.settled += uint64(len(messages))
	p.sendLetters()
	p.dirtyBytes += len(b.items)*p.dirtyEvent() + b.letterBytes
	p.changed()
	p.metrics.batch(b, duplicates)
	return nil
}

// add adds the facts of events to their pairs and says how many were there already.
func (p *partition) add(items []item) (duplicates int) {
	var additions [64]hold.Addition
	most := p.cacheBytes + p.cacheBytes/8
	for some := range slices.Chunk(items, len(additions)) {
		for i := range some {
			it := &some[i]
			if it.fact.HoldID != "" {
				it.fact.HoldID = strings.Clone(it.fact.HoldID)
			}
			if !it.pair.touched {
				it.pair.part()
			}
			p.touch(it)
			additions[i] = hold.Addition{Pair: it.pair.state, Fact: it.fact}
		}
		hold.AddAll(additions[:len(some)])
		for i := range some {
			it := &some[i]
			// A fact that is there already marks its pair all the same: after a crash
			// the fact may be in the store without the figures that follow from it.
			switch {
			case !additions[i].New:
				duplicates++
			case !p.paged:
				p.facts[it.pair] = append(p.facts[it.pair], projection.LoggedFact{Fact: it.fact, Position: it.position, LogTime: it.at})
			}
			p.cache.count(it.pair)
		}
		// Pages that events bring into memory leave it with the batch under way.
		if p.cache.bytes > most {
			var last *pair
			for i := range some {
				if pr := some[i].pair; pr != last && p.cache.bytes > p.cacheBytes {
					p.cache.shrink(pr, p.cache.bytes-p.cacheBytes, p.flushed)
					last = pr
				}
			}
			most = max(most, p.cache.bytes+p.cacheBytes/8)
		}
	}
	return duplicates
}

// touch marks the pair and the holder of an event that was applied.
func (p *partition) touch(it *item) {
	pr, h := it.pair, it.pair.holder
	pr.at, pr.used = it.at, true
	// After a crash a store that is not atomic may hold a holder as it was later
	// than its checkpoint. What readers saw never steps back.
	h.updatedAt, h.position = max(h.updatedAt, it.at), max(h.position, it.position)
	if !pr.touched {
		pr.touched = true
		p.touchedPairs = append(p.touchedPairs, pr)
	}
	if !h.touched {
		h.touched = true
		p.touchedHolders = append(p.touchedHolders, h)
	}
	if !pr.dirty {
		pr.dirty = true
		p.dirtyPairs = append(p.dirtyPairs, pr)
		p.dirtyBytes += dirtyPairBytes
	}
	if !h.dirty {
		h.dirty = true
		p.dirtyHolders = append(p.dirtyHolders, h)
		p.dirtyBytes += dirtyHolderBytes
	}
	// What the bucket has already would step back if it was published again.
	if p.bucket != nil && it.position > p.publishFloor {
		p.unpublished.change(h, p.reached())
	}
}

// sendLetters starts publishing the batch's dead letters, in bytes of their own:
// the messages they were cut from may be large.
func (p *partition) sendLetters() {
	if len(p.batch.letters) == 0 {
		return
	}
	out := make([]ingest.DeadLetter, len(p.batch.letters))
	for i, l := range p.batch.letters {
		l.Data = append([]byte(nil), l.Data...)
		out[i] = l
	}
	p.letters.send(p.background, out, p.log.PublishDeadLetter, p.retry)
	clear(p.batch.letters)
}
