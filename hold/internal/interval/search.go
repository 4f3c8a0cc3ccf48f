package interval

// firstCrossing returns the earliest start of a hold of the family that starts
// before t and ends after it, or Forever.
func (n *node) firstCrossing(f Family, t int64) int64 {
	if n.lastEnd[f] <= t {
		return Forever
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.At >= t {
			break
		}
		if at := kid.firstCrossing(f, t); at != Forever {
			return at
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At >= t {
			break
		}
		if !e.Is(Covers) {
			continue
		}
		if end := e.EndOrForever(); end > t && (f == AllHolds || end != Forever) {
			return e.At
		}
	}
	return Forever
}

// nextBreak returns the first start or end of a hold after t that comes before next,
// or next. A hold that starts after t ends no sooner than it starts, so it looks
// at the holds across t and the first one behind it.
func (n *node) nextBreak(t, next int64) int64 {
	if n.lastStart <= t && n.lastEnd[EndedHolds] <= t {
		return next
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.At >= next {
			return next
		}
		next = kid.nextBreak(t, next)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At >= next {
			return next
		}
		if !e.Is(Covers) {
			continue
		}
		if e.At > t {
			return e.At
		}
		if end := e.EffectiveEnd(); end > t {
			next = min(next, end)
		}
	}
	return next
}

// stopAfter returns the first active stop, from the key from on, that takes h
// rather than the hold that it ends now, or nil (S4.5).
func (n *node) stopAfter(h, from *Key) *Entry {
	if n.firstStop > h.At {
		return nil
	}
	n.here()
	if n.leaf() {
		for i := n.search(from); i < len(n.entries); i++ {
			e := &n.entries[i]
			if e.Kind == EntryStop && e.Active() && (e.MatchStart() == 0 || e.EndsBelow(h)) {
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

// topLoose returns the latest-started loose hold (of equal starts the one of the
// largest weight) that started before t and has no end up to t, or nil.
func (n *node) topLoose(t int64) *Entry {
	if n.lastLoose <= t {
		return nil
	}
	n.here()
	if n.leaf() {
		for i := n.search(&Key{At: t}) - 1; i >= 0; i-- {
			if e := &n.entries[i]; e.Is(Loose) && (e.Eff == 0 || e.Eff > t) {
				return e
			}
		}
		return nil
	}
	for i := n.route(&Key{At: t}); i >= 0; i-- {
		if e := n.kids[i].topLoose(t); e != nil {
			return e
		}
	}
	return nil
}

// endsBefore reports whether every entry is before t.
func (n *node) endsBefore(t int64) bool {
	n.here()
	for !n.leaf() {
		n = n.kids[len(n.kids)-1]
		if n.first.At >= t {
			return false
		}
		n.here()
	}
	if len(n.entries) == 0 {
		return n.first.At == 0 // a root that has nothing yet
	}
	return n.entries[len(n.entries)-1].At < t
}
