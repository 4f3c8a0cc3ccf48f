package hold

// Stops without hold_id pair up with open holds like brackets: in the order of
// time each stop ends the latest-started open hold before it. The pairing is
// kept, and a change to it runs along a chain: a stop that takes a hold sets the
// stop free that had it, which takes another one, and so on. Each step is a
// search and a hold touched.

// place finds the stop that ends a loose hold which is there for the taking
// after the instant from. A hold that is new (its own start is from) may also be
// taken by the stop of its very instant.
func (p *Pair) place(h key, from int64, isNew bool) {
	for {
		stop := p.stopOf(&h, from, isNew)
		if stop == nil {
			p.countLoose(&h, 0)
			return
		}
		at, had, matched := stop.at, stop.matchKey(), stop.is(flagMatched)
		p.match(at, &h)
		p.countLoose(&h, at)
		if !matched {
			p.waiting--
			return
		}
		h, from, isNew = had, at, false
	}
}

// tighten takes a loose hold away. The stop that ended it ends another one.
func (p *Pair) tighten(h *key) {
	stop := p.must(h).eff
	p.count(h, false)
	if stop != 0 {
		p.feed(stop)
	}
}

// feed finds the hold that an active stop ends, which ends none now.
func (p *Pair) feed(at int64) {
	for {
		hold := p.root.topLoose(at)
		if hold == nil {
			hold = p.ofInstant(at)
		}
		if hold == nil {
			p.match(at, nil)
			p.waiting++
			return
		}
		k, next := hold.key(), hold.eff
		p.match(at, &k)
		p.countLoose(&k, at)
		if next == 0 {
			return
		}
		at = next
	}
}

// match notes in a stop which hold it ends.
func (p *Pair) match(at int64, h *key) {
	p.root.update(&key{at: at, kind: entryStop}, p.policy, func(e *entry) {
		e.flags &^= flagMatched | flagMatchedHasWeight
		e.eff, e.weight = 0, Weight{}
		if h != nil {
			e.flags |= flagMatched
			if h.hasWeight {
				e.flags |= flagMatchedHasWeight
			}
			e.eff, e.weight = h.at, h.weight
		}
	})
}

// stopOf is the first stop that ends h rather than what it ends now: one that
// ends nothing, or what lies below h.
func (p *Pair) stopOf(h *key, from int64, isNew bool) *entry {
	if isNew {
		// The stop of the hold's own instant prefers what began before it.
		stop := p.root.find(&key{at: h.at, kind: entryStop})
		if stop != nil && stop.active() && stop.matchStart() == 0 && (!stop.is(flagMatched) || stop.endsBelow(h)) {
			return stop
		}
	}
	return p.root.stopAfter(h, &key{at: from + 1})
}

// endsBelow says whether the hold that the stop ends gives way to h.
func (e *entry) endsBelow(h *key) bool {
	k := e.matchKey()
	return k.cmp(h) < 0
}

// stopAfter is the first active stop from the key on which h is taken by.
func (n *node) stopAfter(h, from *key) *entry {
	if n.firstStop > h.at {
		return nil
	}
	n.here()
	if n.leaf() {
		for i := n.search(from); i < len(n.entries); i++ {
			e := &n.entries[i]
			if e.kind == entryStop && e.active() && (e.matchStart() == 0 || e.endsBelow(h)) {
				return e
			}
		}
		return nil
	}
	for i := n.route(from); i < len(n.kids); i++ {
		if e := n.kids[i].stopAfter(h, from); e != nil {
			return e
		}
	}
	return nil
}

// topLoose is the latest-started loose hold (of equal starts the one of the
// largest weight) that started before t and has no end up to t, or nil.
func (n *node) topLoose(t int64) *entry {
	if n.lastLoose <= t {
		return nil
	}
	n.here()
	if n.leaf() {
		for i := n.search(&key{at: t}) - 1; i >= 0; i-- {
			if e := &n.entries[i]; e.is(flagLoose) && (e.eff == 0 || e.eff > t) {
				return e
			}
		}
		return nil
	}
	for i := n.route(&key{at: t}); i >= 0; i-- {
		if e := n.kids[i].topLoose(t); e != nil {
			return e
		}
	}
	return nil
}

// ofInstant is the loose hold of the largest weight that started at t itself and
// has no end there, or nil.
func (p *Pair) ofInstant(t int64) *entry {
	var found *entry
	p.root.visitAt(&key{at: t, kind: entryFact}, func(e *entry) bool {
		if e.kind != entryFact {
			return false
		}
		if e.is(flagLoose) && (e.eff == 0 || e.eff > t) {
			found = e
		}
		return true
	})
	return found
}

// addStop adds a stop, or the retract of one, without hold_id.
func (p *Pair) addStop(f *Fact) bool {
	k := key{at: f.End, kind: entryStop}
	flag := flagSent
	if f.Kind == KindRetractStop {
		flag = flagRetracted
	}
	e := p.root.find(&k)
	if e == nil {
		p.insert(entry{at: f.End, kind: entryStop})
		e = p.root.find(&k)
	} else if e.is(flag) {
		return false
	}
	was, matched, ended := *e, e.is(flagMatched), e.matchKey()
	p.flag(&k, flag)
	now := was.flags | flag
	if was.flags == flagRetracted {
		p.waiting-- // its stop came
	}
	switch {
	case now&flagRetracted == 0: // a stop that counts
		p.feed(f.End)
	case was.flags == 0: // a retract without its stop
		p.waiting++
	case was.active() && !matched: // retracted, so it no longer waits
		p.waiting--
	case was.active():
		p.match(f.End, nil)
		p.place(ended, f.End, false)
	}
	return true
}

// flag notes that an entry's fact, or its retract, is there.
func (p *Pair) flag(k *key, flag uint8) {
	p.root.update(k, p.policy, func(e *entry) { e.flags |= flag })
	if p.pager != nil {
		return // soiled on the way
	}
	p.soil(p.root)
}
