package processor

import (
	"context"
	"fmt"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// atomicStore is what a store may implement to say that a flush is seen whole or
// not at all. Others may have, after a crash, facts and figures beyond their
// checkpoint.
type atomicStore interface{ AtomicFlush() bool }

// pageStore is what a store may implement to say that it keeps pages, and never
// looks at the facts of a change.
type pageStore interface{ KeepsPages() bool }

// load fills the holders and pairs that the batch entered: one call for the
// holders, one for the pairs.
func (p *partition) load(ctx context.Context) error {
	b := &p.batch
	err := p.loadHolders(ctx, b.newHolders)
	if err == nil {
		missing, complete := p.missing[:0], p.complete()
		for _, pr := range b.newPairs {
			if complete || pr.holder.fresh {
				pr.state = hold.NewPair(pr.token.rule.Policy)
			} else {
				missing = append(missing, pr)
			}
		}
		err = p.loadPairs(ctx, missing)
		clear(missing)
		p.missing = missing[:0]
	}
	for _, h := range b.newHolders {
		h.fresh = false // from here on the store may have pairs of it
	}
	if err != nil {
		p.drop()
	}
	return err
}

// drop takes out what a batch entered that could not be loaded. A holder leaves
// with its last pair.
func (p *partition) drop() {
	for _, pr := range p.batch.newPairs {
		p.cache.remove(pr, p.flushed)
	}
}

// inTail says whether the store may hold something of messages that are still
// to be applied.
func (p *partition) inTail() bool { return !p.atomic && p.position < p.tail }

// complete says whether the store has nothing that is not in memory: it had
// nothing of the partition at the start, and nothing has left the cache since.
func (p *partition) complete() bool { return p.unstored && p.atomic && !p.cache.evicted }

func (p *partition) loadHolders(ctx context.Context, holders []*holder) error {
	if len(holders) == 0 {
		return nil
	}
	if p.complete() {
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
	err := p.retry(ctx, "load holders", func(ctx context.Context) (err error) {
		records, err = p.store.LoadHolders(ctx, p.id, names)
		return err
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: load holders: %w", p.id, err)
	}
	for i, h := range holders {
		r := records[i]
		if r != nil {
			h.updatedAt, h.sumAt, h.position = r.UpdatedAt, r.UpdatedAt, r.Position
		}
		switch {
		case r == nil && !p.inTail():
			h.fresh = true
		case r == nil || p.inTail() || r.Figures.Line.Until != 0:
			if err := p.sumAnew(ctx, h); err != nil {
				return err
			}
		default:
			h.addRest(&r.Figures) // until the first pair is loaded, and takes its own out
		}
	}
	return nil
}

// sumAnew adds a holder's sum up from its pairs as they are stored: where the
// stored sum may not be that of its pairs, and where a line may break, since the
// sum does not say whose. Pairs whose stored line has broken before the instant
// of the sum are loaded with the batch's own, since only the pair itself knows
// how its line goes on.
func (p *partition) sumAnew(ctx context.Context, h *holder) error {
	type part struct {
		token   string
		figures hold.Figures
	}
	var parts []part
	err := p.retry(ctx, "read a holder's pairs", func(ctx context.Context) error {
		parts = parts[:0]
		return p.store.HolderPairs(ctx, p.id, h.name, func(key projection.PairKey, f hold.Figures) error {
			parts = append(parts, part{key.Token, f})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: read the pairs of holder %q: %w", p.id, h.name, err)
	}
	// A pair may have been written later than its holder. No line can be read before
	// it begins, so the holder's last event is at least as late as any pair's.
	for i := range parts {
		h.updatedAt = max(h.updatedAt, parts[i].figures.Line.Since)
	}
	h.sumAt = h.updatedAt
	for i := range parts {
		f := &parts[i].figures
		if f.Line.Holds(h.sumAt) {
			h.addRest(f)
			if f.Line.Until != 0 {
				p.cache.setBreak(h, p.cache.tokenOf(parts[i].token), f.Line.Until)
			}
			continue
		}
		t := p.cache.tokenOf(parts[i].token)
		pr := p.cache.pair(h, t)
		if pr == nil {
			pr = p.cache.addPair(h, t)
			p.batch.newPairs = append(p.batch.newPairs, pr)
		}
		pr.stale = true
	}
	return nil
}

// loadPairs fills pairs whose holders are loaded.
func (p *partition) loadPairs(ctx context.Context, pairs []*pair) error {
	if len(pairs) == 0 {
		return nil
	}
	keys := make([]projection.PairKey, len(pairs))
	for i, pr := range pairs {
		keys[i] = pr.key()
	}
	var records []*projection.PairRecord
	err := p.retry(ctx, "load pairs", func(ctx context.Context) (err error) {
		records, err = p.store.Load(ctx, p.id, keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("processor: partition %d: load pairs: %w", p.id, err)
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
			if more := p.pagesOf(pr.key()); more != nil {
				records[i].More = more
			}
		}
		if states[i], err = records[i].Open(); err != nil {
			return fmt.Errorf("processor: partition %d: pair %q of holder %q: %w", p.id, pr.token.name, pr.holder.name, err)
		}
	}
	for i, pr := range pairs {
		if pr.state = states[i]; records[i] == nil {
			pr.stale = false
		} else {
			p.enter(pr, &records[i].Figures)
		}
	}
	return nil
}

// enter brings a pair that was just opened together with its holder's sum.
func (p *partition) enter(pr *pair, stored *hold.Figures) {
	h := pr.holder
	pr.at = stored.Line.Since
	f := *stored
	if !stored.Line.Holds(h.sumAt) {
		f = pr.figures(h.sumAt)
	}
	switch {
	case pr.stale:
		pr.stale = false
		pr.join(&f)
		p.cache.setBreak(h, pr.token, f.Line.Until)
	case pr.isFirst():
		h.takeFirst(&f)
	}
	p.cache.count(pr)
}

// pairPages reads the pages of a large pair that is in memory in part, when
// something that is done to the pair asks for one. So the store is read in the
// middle of an Add, which waits as long as the store takes, as a load does.
//
// A page is only asked for where the store has the pair's last word on it: what
// changed since the last flush was written stays in memory (see cache.shrink).
type pairPages struct {
	p    *partition
	from projection.PageReader
	key  projection.PairKey
}

// pagesOf lets a pair read its pages; nil where the store cannot read single ones.
func (p *partition) pagesOf(key projection.PairKey) hold.Pages {
	if from, ok := p.store.(projection.PageReader); ok {
		return &pairPages{p, from, key}
	}
	return nil
}

// Page reads one page.
func (l *pairPages) Page(key []byte) (data []byte, err error) {
	err = l.p.retry(l.p.background, "read a page of a pair", func(ctx context.Context) (err error) {
		data, err = l.from.Page(ctx, l.p.id, l.key, key)
		return err
	})
	return data, err
}

// Scan walks pages. Nothing that the worker does to a pair needs it.
func (l *pairPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	return l.from.Pages(l.p.background, l.p.id, l.key, prefix, yield)
}

// Lost is told that the pair cannot go on. Then the partition cannot either: what
// the pair had not flushed is gone, and comes back only by way of the log.
func (l *pairPages) Lost(err error) {
	if l.p.lost == nil {
		l.p.lost = fail(l.p, "a pair in memory", projection.PairError(l.key, err))
	}
}
