package processor

import "context"

// settle brings figures up to date: of the pairs that were touched since the
// last settle, and the sums of their holders. Until then events only add facts,
// so a pair that takes many events between two flushes is figured once.
//
// How often it is called does not show in what it leaves: a holder's sum is made
// of the pieces of lines that hold at the holder's last event.
//
// An error means that a pair could not be loaded; calling it again carries on.
func (p *partition) settle(ctx context.Context) error {
	for _, pr := range p.touchedPairs {
		p.refigure(pr)
	}
	clear(p.touchedPairs)
	p.touchedPairs = p.touchedPairs[:0]

	// Lines that have broken since go on as another line, which only their pairs know.
	for _, h := range p.touchedHolders {
		for _, t := range p.cache.broken(h) {
			pr := p.cache.pair(h, t)
			if pr == nil {
				pr = p.cache.addPair(h, t)
				p.unloaded = append(p.unloaded, pr)
			}
			pr.touched = true
			p.broken = append(p.broken, pr)
			p.cache.release(t)
		}
	}
	if len(p.unloaded) > 0 {
		if err := p.loadPairs(ctx, p.unloaded); err != nil {
			return err
		}
		clear(p.unloaded)
		p.unloaded = p.unloaded[:0]
	}
	for _, pr := range p.broken {
		// While sumAt is still the instant of the last settle, the pair gives what
		// the sum has of it.
		pr.part()
		p.refigure(pr)
	}
	clear(p.broken)
	p.broken = p.broken[:0]

	for _, h := range p.touchedHolders {
		h.sumAt, h.touched = h.updatedAt, false
		p.cache.dropBreaks(h)
	}
	clear(p.touchedHolders)
	p.touchedHolders = p.touchedHolders[:0]
	return p.lost
}

// refigure puts a pair that is in no sum into its holder's, in the piece of its
// line that holds at the holder's last event.
func (p *partition) refigure(pr *pair) {
	h := pr.holder
	pr.touched = false
	f := pr.figures(h.updatedAt)
	pr.join(&f)
	p.cache.setBreak(h, pr.token, f.Line.Until)
}
