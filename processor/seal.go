package processor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

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
// too; see [projection.Store].

// judged is an item that came under a horizon, and where its event lies.
type judged struct {
	horizon int64
	message *message
	index   int
	data    []byte
}

// sealer seals pairs up to the horizon, and removes the facts that were sealed. It
// goes over the pairs of the store, to seal those that no event comes to.
type sealer struct {
	*scope
	mem     *memory
	changes *changes
	flush   *flusher

	from    uint64 // position that the store must have: pairs that are not there yet would be missed
	after   projection.PairKey
	removes bool // the store may have facts to remove
}

// readSeals has the log look up the horizons of a batch's messages, where it does
// not know them yet, and refuses those that nobody who may set them has set.
func (s *sealer) readSeals(ctx context.Context, messages []message) error {
	for i := range messages {
		m := &messages[i]
		if m.partition != s.id || !ingest.IsSeal(m.data) {
			continue
		}
		horizon, err := ingest.ReadSeal(m.data)
		if err != nil {
			continue // decode says so
		}
		known := false
		err = s.retry(ctx, "read the log's horizons", func(ctx context.Context) (err error) {
			known, err = s.log.KnowsHorizon(ctx, horizon)
			return err
		})
		if err != nil {
			return s.fail("read the log's horizons", err)
		}
		m.unknown = !known
	}
	return nil
}

// decodeSeal raises the horizon.
func (a *applier) decodeSeal(m *message) {
	horizon, err := ingest.ReadSeal(m.data)
	if err == nil {
		err = ingest.SealRefused(horizon, m.at, !m.unknown)
	}
	if err != nil {
		a.reject(m, 0, m.data, err)
		return
	}
	a.batch.horizon = max(a.batch.horizon, horizon)
}

// raise notes the horizon that the applied messages have come to.
func (s *sealer) raise(horizon int64) {
	if horizon == s.mem.horizon {
		return
	}
	s.mem.horizon = horizon
	if s.controls.sealed.Swap(horizon) != horizon { // of all partitions the first
		s.logger.Info("log sealed", zap.Time("horizon", time.Unix(0, horizon).UTC()), zap.Uint64("position", s.mem.position))
	}
	s.from, s.after = s.mem.position, projection.PairKey{}
}

// judge adds the facts of events that came under a horizon, if their pairs admit them.
func (a *applier) judge(items []item, of []judged) (duplicates int) {
	for i := range items {
		it, j := &items[i], &of[i]
		pr := it.pair
		before := pr.at
		a.seals.seal(pr, j.horizon)
		if err := pr.state.Admits(&it.fact, j.horizon); err != nil {
			a.batch.refused++
			a.refuse(j.message, j.index, j.data, err)
			continue
		}
		it.fact.HoldID = strings.Clone(it.fact.HoldID)
		if !pr.touched {
			pr.part()
		}
		a.touch(it)
		switch {
		case !pr.state.Add(it.fact):
			duplicates++
		default:
			a.changes.addFact(pr, projection.LoggedFact{Fact: it.fact, Position: it.position, LogTime: it.at})
		}
		if before < j.horizon {
			a.seals.seal(pr, j.horizon) // what had not ended by the event before
		}
		a.mem.cache.count(pr)
	}
	return duplicates
}

// seal seals a pair that is in memory up to a horizon.
func (s *sealer) seal(pr *pair, horizon int64) {
	if !pr.token.rule.Seals() || !pr.state.SealAtMost(horizon, pr.at, s.sealedIDs()) {
		return
	}
	s.changes.markDirty(pr)
	s.mem.cache.count(pr)
}

// sealedIDs returns the most hold_ids of a pair of which something may be sealed.
func (s *sealer) sealedIDs() int {
	if most := s.store.Capabilities().SealedIDs; most > 0 {
		return most
	}
	return math.MaxInt
}

// sweepPairs is how many pairs are looked at between two batches.
const sweepPairs = 256

// turn is ready while there are pairs to look at and time for them: not before
// the store has all that the horizon came after, not while the partition catches up,
// nor while flushes have to wait.
func (s *sealer) turn(full bool) <-chan struct{} {
	looks := s.mem.horizon != s.mem.swept && s.flush.stored >= s.from
	if !looks && !s.removesNow() || s.mem.farBehind() || full {
		return nil
	}
	return always
}

// removesNow reports whether it is time to have the store remove facts that were sealed:
// not during a flush, which the store would have the partition wait for.
func (s *sealer) removesNow() bool { return s.removes && !s.flush.busy }

// removeSealed has the store remove some facts that were sealed.
func (s *sealer) removeSealed(ctx context.Context) error {
	err := s.retry(ctx, "remove facts that were sealed", func(ctx context.Context) (err error) {
		s.removes, err = s.store.RemoveSealed(ctx, s.id)
		return err
	})
	if err != nil {
		return s.fail("remove facts that were sealed", err)
	}
	return nil
}

// removable notes that a store which keeps facts may have some to remove.
func (s *sealer) removable() {
	if s.store.Capabilities().RemovesSealed {
		s.removes = true
	}
}

// sweep looks at the next pairs.
func (s *sealer) sweep(ctx context.Context) error {
	if s.removesNow() {
		return s.removeSealed(ctx)
	}
	var keys []projection.PairKey
	err := s.retry(ctx, "look for pairs to seal", func(ctx context.Context) (err error) {
		keys, err = s.store.KeysAfter(ctx, s.id, s.after, sweepPairs)
		return err
	})
	if err != nil {
		return s.fail("look for pairs to seal", err)
	}
	if len(keys) == 0 {
		s.mem.swept = s.mem.horizon
		s.flush.changed()
		return nil
	}
	s.after = keys[len(keys)-1]
	absent := keys[:0:0]
	for _, key := range keys {
		if pr := s.mem.cache.find(key); pr != nil {
			s.sealSwept(pr)
		} else if s.cfg.Rules.Of(key.Token).Seals() {
			absent = append(absent, key)
		}
	}
	if err := s.sealStored(ctx, absent); err != nil {
		return err
	}
	if s.flush.unencoded() {
		s.flush.changed()
	}
	return s.lost
}

// sealSwept seals a pair that is in memory.
func (s *sealer) sealSwept(pr *pair) {
	before := len(s.changes.pairs)
	s.seal(pr, s.mem.horizon)
	s.changes.sealedCached = s.changes.sealedCached || len(s.changes.pairs) > before
}

// sealStored seals pairs that are not in memory. A small one does not come there:
// what the store has of it is read and written whole, so an owner that loads it before
// the flush or after has one that is good. The pages of a large one are read one by
// one as they are wanted, so it has to be the one that everybody works with.
func (s *sealer) sealStored(ctx context.Context, keys []projection.PairKey) error {
	if len(keys) == 0 {
		return nil
	}
	var records []*projection.PairRecord
	err := s.retry(ctx, "load pairs to seal", func(ctx context.Context) (err error) {
		records, err = s.store.Load(ctx, s.id, keys)
		return err
	})
	if err != nil {
		return s.fail("load pairs to seal", err)
	}
	var large []*pair
	s.mem.resetNew()
	for _, r := range records {
		if r == nil {
			continue
		}
		if r.IsLarge() {
			h := s.mem.cache.holders[r.Key.Holder]
			if h == nil {
				h = s.mem.cache.addHolder(r.Key.Holder)
				s.mem.newHolders = append(s.mem.newHolders, h)
			}
			pr := s.mem.cache.addPair(h, s.mem.cache.tokenOf(r.Key.Token))
			s.mem.newPairs = append(s.mem.newPairs, pr)
			large = append(large, pr)
			continue
		}
		pair, err := r.Open()
		if err != nil {
			return s.fail(fmt.Sprintf("pair %q of holder %q", r.Key.Token, r.Key.Holder), err)
		}
		if !pair.SealAtMost(s.mem.horizon, r.Figures.Line.Since, s.sealedIDs()) {
			continue
		}
		c := projection.PairChange{Key: r.Key, Policy: r.Policy, Figures: r.Figures}
		if !s.paged {
			c.Sealed = pair.DirtySealed()
			s.changes.bytes += len(c.Sealed)
		}
		for page := range pair.DirtyPages() {
			c.Pages = append(c.Pages, page)
			s.changes.bytes += len(page.Data)
		}
		s.changes.bytes += dirtyPairBytes
		s.changes.sealed = append(s.changes.sealed, c)
	}
	if len(large) == 0 {
		return nil
	}
	if err := s.mem.load(ctx); err != nil {
		return err
	}
	for _, pr := range large {
		s.sealSwept(pr)
	}
	return nil
}

// sealCached seals, in memory, what the sweep has sealed in the store's place of
// pairs that were loaded since, so that a flush has each once.
func (s *sealer) sealCached() {
	s.changes.sealed = slices.DeleteFunc(s.changes.sealed, func(c projection.PairChange) bool {
		pr := s.mem.cache.find(c.Key)
		if pr == nil {
			return false
		}
		s.seal(pr, s.mem.horizon)
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
