package processor

import (
	"context"
	"fmt"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// memory is what a partition has in memory of its pairs and holders, and how far it
// is applied.
type memory struct {
	*scope
	cache *cache

	position uint64 // of the last message applied
	hash     uint64 // of that message; 0: not known
	clock    int64  // log time: the greatest timestamp up to position
	messages uint64 // as in the checkpoint
	events   uint64
	rejected uint64
	excluded uint64 // since the start, unlike events
	received uint64 // events applied or refused since the log's client began
	settled  uint64 // messages of which that was done, or that came again
	pending  uint64 // messages behind position, when the last batch was sent
	tail     uint64 // the log's end at the start; what a former owner may have written lies before it
	unstored bool   // the store had nothing of the partition at the start
	horizon  int64  // what was held before is final; 0: nothing is
	swept    int64  // the horizon up to which all pairs are sealed
	flushed  uint32 // number of the last flush that was written
	stretch  stretch

	newHolders     []*holder // entered and to be loaded
	newPairs       []*pair
	touchedPairs   []*pair // since the last settle
	touchedHolders []*holder
	broken         []*pair // settle: to be figured again
	unloaded       []*pair // settle: of those, the ones that are not in memory
	missing        []*pair // load: scratch
}

func newMemory(s *scope) *memory {
	m := &memory{scope: s, cache: newCache(s.cfg.Rules)}
	if s.store.Capabilities().ReadsPages {
		m.cache.pages = m.pagesOf
	}
	return m
}

// resetNew begins another batch of what is to be loaded.
func (m *memory) resetNew() {
	m.newHolders, m.newPairs = emptied(m.newHolders), emptied(m.newPairs)
}

// emptiedMost is how long a list may become before its memory is not kept for the next.
const emptiedMost = 1 << 13

// emptied returns a list without its elements, with its memory for the next ones. What
// one burst made long gives its memory back, since there are a few such lists in each
// partition, and a holder's place in them is a tenth of what it takes.
func emptied[T any](list []T) []T {
	if cap(list) > emptiedMost {
		return nil
	}
	clear(list)
	return list[:0]
}

// trimFull trims the cache to some way below its bound, so that not every batch does.
func (m *memory) trimFull() {
	m.cache.trim(m.cacheBytes-m.cacheBytes/8, m.flushed)
	m.cache.stuck = m.cache.bytes > m.cacheBytes
}

// reached is how far the partition is applied.
func (m *memory) reached() projection.Reached {
	return projection.Reached{Position: m.position, LogTime: m.clock}
}

// farBehind reports whether the partition is catching up, as of the last batch.
func (m *memory) farBehind() bool { return m.pending >= behindMessages }

// load fills the holders and pairs that the batch entered: one call for the
// holders, one for the pairs.
func (m *memory) load(ctx context.Context) error {
	if len(m.newPairs) > 0 {
		began := time.Now()
		defer func() { m.metrics.all.load.Observe(time.Since(began).Seconds()) }()
	}
	err := m.loadHolders(ctx, m.newHolders)
	if err == nil {
		missing, complete := m.missing[:0], m.complete()
		for _, pr := range m.newPairs {
			if complete || pr.holder.fresh {
				pr.state = hold.NewPair(pr.token.rule.Policy)
			} else {
				missing = append(missing, pr)
			}
		}
		err = m.loadPairs(ctx, missing)
		clear(missing)
		m.missing = missing[:0]
	}
	for _, h := range m.newHolders {
		h.fresh = false // from here on the store may have pairs of it
	}
	if err != nil {
		m.drop()
	}
	return err
}

// drop takes out what a batch entered that could not be loaded. A holder leaves
// with its last pair.
func (m *memory) drop() {
	for _, pr := range m.newPairs {
		m.cache.remove(pr, m.flushed)
	}
}

// inTail reports whether the store may hold something of messages that are still
// to be applied.
func (m *memory) inTail() bool { return !m.atomic && m.position < m.tail }

// complete reports whether the store has nothing that is not in memory: it had
// nothing of the partition at the start, and nothing has left the cache since.
func (m *memory) complete() bool { return m.unstored && m.atomic && !m.cache.evicted }

func (m *memory) loadHolders(ctx context.Context, holders []*holder) error {
	if len(holders) == 0 {
		return nil
	}
	if m.complete() {
		for _, h := range holders {
			h.fresh = true
		}
		return nil
	}
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = h.name
	}
	var records []*projection.HolderRecord
	err := m.retry(ctx, "load holders", func(ctx context.Context) (err error) {
		records, err = m.store.LoadHolders(ctx, m.id, names)
		return err
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: load holders: %w", m.id, err)
	}
	for i, h := range holders {
		r := records[i]
		if r != nil {
			h.updatedAt, h.position = r.UpdatedAt, r.Position
			h.score = r.Figures.Line.Base.Score.Approx()
		}
		switch {
		case r == nil && !m.inTail():
			h.fresh = true
		case r == nil || m.inTail() || r.Figures.Line.Until != 0:
			if err := m.sumPairs(ctx, h); err != nil {
				return err
			}
		default:
			h.addRest(&r.Figures) // until the first pair is loaded, and takes its own out
		}
	}
	return nil
}

// sumPairs adds a holder's sum up from its pairs as they are stored: where the
// stored sum may not be that of its pairs, and where a line may break, since the
// sum does not say whose. Pairs whose stored line has broken before the instant
// of the sum are loaded with the batch's own, since only the pair itself knows
// how its line goes on.
func (m *memory) sumPairs(ctx context.Context, h *holder) error {
	type part struct {
		token   string
		figures hold.Figures
	}
	var parts []part
	err := m.retry(ctx, "read a holder's pairs", func(ctx context.Context) error {
		parts = parts[:0]
		return m.store.HolderPairs(ctx, m.id, h.name, func(key projection.PairKey, f hold.Figures) error {
			parts = append(parts, part{key.Token, f})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: read the pairs of holder %q: %w", m.id, h.name, err)
	}
	// A pair may have been written later than its holder. No line can be read before
	// it begins, so the holder's last event is at least as late as any pair's.
	for i := range parts {
		h.updatedAt = max(h.updatedAt, parts[i].figures.Line.Since)
	}
	for i := range parts {
		f := &parts[i].figures
		if f.Line.Holds(h.updatedAt) {
			h.addRest(f)
			if f.Line.Until != 0 {
				m.cache.setBreak(h, m.cache.tokenOf(parts[i].token), f.Line.Until)
			}
			continue
		}
		t := m.cache.tokenOf(parts[i].token)
		pr := m.cache.pair(h, t)
		if pr == nil {
			pr = m.cache.addPair(h, t)
			m.newPairs = append(m.newPairs, pr)
		}
		pr.stale = true
	}
	return nil
}

// loadPairs fills pairs whose holders are loaded.
func (m *memory) loadPairs(ctx context.Context, pairs []*pair) error {
	if len(pairs) == 0 {
		return nil
	}
	keys := make([]projection.PairKey, len(pairs))
	for i, pr := range pairs {
		keys[i] = pr.key()
	}
	var records []*projection.PairRecord
	err := m.retry(ctx, "load pairs", func(ctx context.Context) (err error) {
		records, err = m.store.Load(ctx, m.id, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: load pairs: %w", m.id, err)
	}
	// All are opened before one enters a sum, so that an error leaves the sums as they are.
	states := make([]*hold.Pair, len(pairs))
	for i, pr := range pairs {
		if records[i] == nil {
			states[i] = hold.NewPair(pr.token.rule.Policy)
			continue
		}
		if records[i].IsLarge() {
			pr.large = true
			if more := m.pagesOf(pr.key()); more != nil {
				records[i].More = more
			}
		}
		if states[i], err = records[i].Open(); err != nil {
			return fmt.Errorf("processor: partition %d: pair %q of holder %q: %w", m.id, pr.token.name, pr.holder.name, err)
		}
	}
	for i, pr := range pairs {
		if pr.state = states[i]; records[i] == nil {
			pr.stale = false
		} else {
			m.enter(pr, &records[i].Figures)
		}
	}
	return nil
}

// enter brings a pair that was just opened together with its holder's sum.
func (m *memory) enter(pr *pair, stored *hold.Figures) {
	h := pr.holder
	pr.at = stored.Line.Since
	f := *stored
	if at := h.sumAt(); !stored.Line.Holds(at) {
		f = pr.figures(at)
	}
	switch {
	case pr.stale:
		pr.stale = false
		pr.join(&f)
		m.cache.setBreak(h, pr.token, f.Line.Until)
	case pr.isFirst():
		h.takeFirst(&f)
	}
	m.cache.count(pr)
}

// pairPages reads the pages of a large pair that is in memory in part, when
// something that is done to the pair asks for one. So the store is read in the
// middle of an Add, which waits as long as the store takes, as a load does.
//
// A page is only asked for where the store has the pair's last word on it: what
// changed since the last flush was written stays in memory (see cache.shrink).
type pairPages struct {
	m   *memory
	key projection.PairKey
}

// pagesOf lets a pair read its pages; nil where the store cannot read single ones.
func (m *memory) pagesOf(key projection.PairKey) hold.Pages {
	if m.store.Capabilities().ReadsPages {
		return &pairPages{m, key}
	}
	return nil
}

// Page reads one page.
func (l *pairPages) Page(key []byte) (data []byte, err error) {
	err = l.m.retry(l.m.background, "read a page of a pair", func(ctx context.Context) (err error) {
		data, err = l.m.store.Page(ctx, l.m.id, l.key, key)
		return err
	})
	return data, err
}

// Scan walks pages. Nothing that the worker does to a pair needs it.
func (l *pairPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	return l.m.store.Pages(l.m.background, l.m.id, l.key, prefix, yield)
}

// Lost notes that the pair cannot go on. Then the partition cannot either: what
// the pair had not flushed is gone, and comes back only by way of the log.
func (l *pairPages) Lost(err error) {
	if l.m.lost == nil {
		l.m.lost = l.m.fail("a pair in memory", projection.PairError(l.key, err))
	}
}
