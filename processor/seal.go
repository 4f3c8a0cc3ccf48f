package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// A log can say, by a message of its own in each partition, that what was held
// before a horizon is final (see ingest.Log.Seal, and hold.Pair.Seal). The partition
// comes to that message where everybody does who reads the log, so every run and
// every rebuild decides the same way, and the checkpoint has the horizon.
//
// From there on every event is judged by its pair; what would change what is final
// becomes a dead letter. A pair is sealed before the first such event is added, so
// its pages follow from the log alone. All others are sealed by a sweep over the
// store, some at a time between batches: they have not changed since, so it does not
// show when. Figures do not change by it, so nothing is published.
//
// A store that keeps facts removes them afterwards, some at a time, between batches
// too; see [projection.Remover].

// ErrCannotSeal says that a log was sealed, and the store is no [projection.Sweeper].
var ErrCannotSeal = errors.New("processor: the log was sealed, and this store cannot be")

// judged is an item that came under a horizon, and where its event lies.
type judged struct {
	horizon int64
	message *message
	index   int
	data    []byte
}

// readSeals has the log look up the horizons of a batch's messages, where it does
// not know them yet, and refuses those that nobody who may set them has set.
func (p *partition) readSeals(ctx context.Context, messages []message) error {
	for i := range messages {
		m := &messages[i]
		if m.partition != p.id || !ingest.IsSeal(m.data) {
			continue
		}
		horizon, err := ingest.ReadSeal(m.data)
		if err != nil {
			continue // decode says so
		}
		known := false
		err = p.retry(ctx, "read the log's horizons", func(ctx context.Context) (err error) {
			known, err = p.log.KnowsHorizon(ctx, horizon)
			return err
		})
		if err != nil {
			return fail(p, "read the log's horizons", err)
		}
		m.unknown = !known
		if _, sweeps := p.store.(projection.Sweeper); known && !sweeps {
			return fail(p, fmt.Sprintf("position %d", m.position), ErrCannotSeal)
		}
	}
	return nil
}

// decodeSeal raises the horizon.
func (p *partition) decodeSeal(m *message) {
	horizon, err := ingest.ReadSeal(m.data)
	if err == nil {
		err = ingest.SealRefused(horizon, m.at, !m.unknown)
	}
	if err != nil {
		p.reject(m, 0, m.data, err)
		return
	}
	p.batch.horizon = max(p.batch.horizon, horizon)
}

// raise notes the horizon that the applied messages have come to.
func (p *partition) raise(horizon int64) {
	if horizon == p.horizon {
		return
	}
	p.horizon = horizon
	p.sweep.from, p.sweep.after = p.position, projection.PairKey{}
}

// judge adds the facts of events that came under a horizon, if their pairs admit them.
func (p *partition) judge(items []item, of []judged) (duplicates int) {
	for i := range items {
		it, j := &items[i], &of[i]
		pr := it.pair
		before := pr.at
		p.seal(pr, j.horizon)
		if err := pr.state.Admits(&it.fact, j.horizon); err != nil {
			p.batch.refused++
			p.refuse(j.message, j.index, j.data, err)
			continue
		}
		it.fact.HoldID = strings.Clone(it.fact.HoldID)
		if !pr.touched {
			pr.part()
		}
		p.touch(it)
		switch {
		case !pr.state.Add(it.fact):
			duplicates++
		case !p.paged:
			p.facts[pr] = append(p.facts[pr], projection.LoggedFact{Fact: it.fact, Position: it.position, LogTime: it.at})
		}
		if before < j.horizon {
			p.seal(pr, j.horizon) // what had not ended by the event before
		}
		p.cache.count(pr)
	}
	return duplicates
}

// seal seals a pair that is in memory up to a horizon.
func (p *partition) seal(pr *pair, horizon int64) {
	if !pr.token.rule.Seals() || !pr.state.SealAtMost(horizon, pr.at, p.sealedIDs()) {
		return
	}
	p.soil(pr)
	p.cache.count(pr)
}

// sealedIDs is of how many hold_ids of a pair something may be sealed, where the store
// has a bound.
func (p *partition) sealedIDs() int {
	if store, bounded := p.store.(interface{ SealedIDs() int }); bounded {
		return store.SealedIDs()
	}
	return math.MaxInt
}

// soil marks a pair as to be stored though no event has changed it. Its holder is
// stored beside it, as it was.
func (p *partition) soil(pr *pair) {
	if !pr.dirty {
		pr.dirty = true
		p.dirtyPairs = append(p.dirtyPairs, pr)
		p.dirtyBytes += dirtyPairBytes
	}
	if h := pr.holder; !h.dirty {
		h.dirty = true
		p.dirtyHolders = append(p.dirtyHolders, h)
		p.dirtyBytes += dirtyHolderBytes
	}
}

// sweep goes over the pairs of the store, to seal those that no event comes to.
type sweep struct {
	done    int64  // the horizon up to which all pairs are sealed
	encoded int64  // done, as the last flush has it
	from    uint64 // position that the store must have: pairs that are not there yet would be missed
	after   projection.PairKey
	sealed  []projection.PairChange // of pairs that are not in memory, for the next flush
	soiled  bool                    // a pair in memory was sealed, for the next flush
	removes bool                    // the store may have facts to remove
}

// sweepPairs is how many pairs are looked at between two batches.
const sweepPairs = 256

func (s *sweep) unencoded() bool { return len(s.sealed) > 0 || s.soiled || s.done != s.encoded }

// take moves what was sealed into a flush.
func (s *sweep) take(pairs []projection.PairChange) []projection.PairChange {
	s.encoded, s.soiled = s.done, false
	if len(s.sealed) == 0 {
		return pairs
	}
	pairs = append(pairs, s.sealed...)
	slices.SortFunc(pairs, func(a, b projection.PairChange) int { return a.Key.Compare(b.Key) })
	s.sealed = nil
	return pairs
}

// sweepTurn is ready while there are pairs to look at and time for them: not before
// the store has all that the horizon came after, not while the partition catches up,
// nor while flushes have to wait.
func (p *partition) sweepTurn() <-chan struct{} {
	looks := p.horizon != p.sweep.done && p.stored >= p.sweep.from
	if !looks && !p.removesNow() || p.farBehind() || p.full() {
		return nil
	}
	return p.always
}

// removesNow says whether it is time to have the store remove facts that were sealed:
// not during a flush, which the store would have the partition wait for.
func (p *partition) removesNow() bool { return p.sweep.removes && !p.flushing }

// removeSealed has the store remove some facts that were sealed.
func (p *partition) removeSealed(ctx context.Context) error {
	err := p.retry(ctx, "remove facts that were sealed", func(ctx context.Context) (err error) {
		p.sweep.removes, err = p.store.(projection.Remover).RemoveSealed(ctx, p.id)
		return err
	})
	if err != nil {
		return fail(p, "remove facts that were sealed", err)
	}
	return nil
}

// removable notes that a store which keeps facts may have some to remove.
func (p *partition) removable() {
	if _, removes := p.store.(projection.Remover); removes {
		p.sweep.removes = true
	}
}

// sweepSome looks at the next pairs.
func (p *partition) sweepSome(ctx context.Context) error {
	if p.removesNow() {
		return p.removeSealed(ctx)
	}
	s := &p.sweep
	var keys []projection.PairKey
	err := p.retry(ctx, "look for pairs to seal", func(ctx context.Context) (err error) {
		keys, err = p.store.(projection.Sweeper).KeysAfter(ctx, p.id, s.after, sweepPairs)
		return err
	})
	if err != nil {
		return fail(p, "look for pairs to seal", err)
	}
	if len(keys) == 0 {
		s.done = p.horizon
		p.changed()
		return nil
	}
	s.after = keys[len(keys)-1]
	absent := keys[:0:0]
	for _, key := range keys {
		if pr := p.cache.find(key); pr != nil {
			p.sealSwept(pr)
		} else if p.cfg.Rules.Of(key.Token).Seals() {
			absent = append(absent, key)
		}
	}
	if err := p.sealStored(ctx, absent); err != nil {
		return err
	}
	if s.unencoded() {
		p.changed()
	}
	return p.lost
}

// sealSwept seals a pair that is in memory.
func (p *partition) sealSwept(pr *pair) {
	before := len(p.dirtyPairs)
	p.seal(pr, p.horizon)
	p.sweep.soiled = p.sweep.soiled || len(p.dirtyPairs) > before
}

// sealStored seals pairs that are not in memory. A small one does not come there:
// what the store has of it is read and written whole, so whoever loads it before
// the flush or after has one that is good. The pages of a large one are read one by
// one as they are wanted, so it has to be the one that everybody works with.
func (p *partition) sealStored(ctx context.Context, keys []projection.PairKey) error {
	if len(keys) == 0 {
		return nil
	}
	var records []*projection.PairRecord
	err := p.retry(ctx, "load pairs to seal", func(ctx context.Context) (err error) {
		records, err = p.store.Load(ctx, p.id, keys)
		return err
	})
	if err != nil {
		return fail(p, "load pairs to seal", err)
	}
	var large []*pair
	b := &p.batch
	b.reset(p.clock, p.horizon)
	for _, r := range records {
		if r == nil {
			continue
		}
		if r.IsLarge() {
			h := p.cache.holders[r.Key.Holder]
			if h == nil {
				h = p.cache.addHolder(r.Key.Holder)
				b.newHolders = append(b.newHolders, h)
			}
			pr := p.cache.addPair(h, p.cache.tokenOf(r.Key.Token))
			b.newPairs = append(b.newPairs, pr)
			large = append(large, pr)
			continue
		}
		pair, err := r.Open()
		if err != nil {
			return fail(p, fmt.Sprintf("pair %q of holder %q", r.Key.Token, r.Key.Holder), err)
		}
		if !pair.SealAtMost(p.horizon, r.Figures.Line.Since, p.sealedIDs()) {
			continue
		}
		c := projection.PairChange{Key: r.Key, Policy: r.Policy, Figures: r.Figures}
		if !p.paged {
			c.Sealed = pair.DirtySealed()
			p.dirtyBytes += len(c.Sealed)
		}
		for page := range pair.DirtyPages() {
			c.Pages = append(c.Pages, page)
			p.dirtyBytes += len(page.Data)
		}
		p.dirtyBytes += dirtyPairBytes
		p.sweep.sealed = append(p.sweep.sealed, c)
	}
	if len(large) == 0 {
		return nil
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	for _, pr := range large {
		p.sealSwept(pr)
	}
	return nil
}

// sealCached seals, in memory, what the sweep has sealed in the store's place of
// pairs that were loaded since, so that a flush has each once.
func (p *partition) sealCached() {
	p.sweep.sealed = slices.DeleteFunc(p.sweep.sealed, func(c projection.PairChange) bool {
		pr := p.cache.find(c.Key)
		if pr == nil {
			return false
		}
		p.seal(pr, p.horizon)
		return true
	})
}

// find is a pair that is in memory, or nil.
func (c *cache) find(key projection.PairKey) *pair {
	h, t := c.holders[key.Holder], c.tokens[key.Token]
	if h == nil || t == nil {
		return nil
	}
	return c.pair(h, t)
}
