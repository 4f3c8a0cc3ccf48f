package hold

// addContent adds a hold, or the retract of one, without hold_id.
func (p *Pair) addContent(f *Fact) bool {
	e := entry{at: f.Start, end: f.End, weight: One, kind: entryFact, flags: flagSent}
	if f.HasWeight {
		e.weight = f.Weight
		e.flags |= flagHasWeight
	}
	if f.Kind == KindRetractHold {
		e.flags ^= flagSent | flagRetracted
	}
	if e.end != 0 && e.is(flagSent) && p.root.endsBefore(e.at) {
		// Most of what comes is an ended hold after all that is there.
		p.insertEnded(e)
		return true
	}
	k := e.key()
	if there := p.root.find(&k); there != nil {
		flag := e.flags & (flagSent | flagRetracted)
		if there.is(flag) {
			return false
		}
		if flag == flagSent {
			// Retracted before it came: from now on its retract waits no longer,
			// and nothing else changes.
			p.waiting--
			p.flag(&k, flag)
			return true
		}
		p.flag(&k, flag)
		p.refold(&k)
		return true
	}
	if e.is(flagRetracted) {
		p.waiting++
		p.insert(e)
		return true
	}
	if p.startsAlone(f.Start) {
		if f.End != 0 {
			p.insertEnded(e)
		} else {
			p.insert(e)
			p.place(k, k.at, true)
		}
		return true
	}
	p.insert(e)
	p.refold(&k)
	return true
}

// insertEnded puts an ended fact into the timeline that counts as it stands.
func (p *Pair) insertEnded(e entry) {
	e.flags |= flagCovers
	p.cover(e.at, e.end, &e.weight, false)
	p.insert(e)
}

// endsBefore says whether every entry stands before t.
func (n *node) endsBefore(t int64) bool {
	n.here()
	for !n.leaf() {
		n = n.kids[len(n.kids)-1]
		if n.first.at >= t {
			return false
		}
		n.here()
	}
	if len(n.entries) == 0 {
		return n.first.at == 0 // a root that has nothing yet
	}
	return n.entries[len(n.entries)-1].at < t
}

// startsAlone says whether no fact without hold_id stands at that start.
func (p *Pair) startsAlone(start int64) bool {
	alone := true
	p.root.visitAt(&key{at: start, kind: entryFact}, func(e *entry) bool {
		alone = e.kind != entryFact
		return false
	})
	return alone
}

// refold folds the facts of one start anew, after the one of that key changed:
// steps 1 to 3 of the design's order for what carries no hold_id.
func (p *Pair) refold(changed *key) {
	from := key{at: changed.at, kind: entryFact}
	weightless := false
	p.root.visitAt(&from, func(e *entry) bool {
		weightless = e.kind == entryFact && !e.is(flagHasWeight)
		return false
	})
	if !weightless {
		p.refoldWeight(changed)
		return
	}
	var group []entry
	p.root.visitAt(&from, func(e *entry) bool {
		if e.kind > entryDerived {
			return false
		}
		group = append(group, *e)
		return true
	})
	ended, derived, loose := foldStart(group)

	// Ended holds come first: what an open one covered is then covered already,
	// and taking it away touches only what really changes.
	for i := range group {
		if e := &group[i]; e.kind == entryFact && e.end != 0 && ended[i] {
			k := e.key()
			p.count(&k, true)
		}
	}
	for _, d := range derived {
		k := d.key()
		if p.root.find(&k) == nil {
			p.insert(d)
			p.count(&k, true)
		}
	}
	for i := range group {
		e := &group[i]
		k := e.key()
		switch {
		case e.kind == entryDerived:
			if !containsKey(derived, &k) {
				p.count(&k, false)
				p.remove(&k)
			}
		case e.end != 0:
			if !ended[i] {
				p.count(&k, false)
			}
		case e.is(flagLoose) && !loose[i]:
			p.tighten(&k)
		}
	}
	// Last what became loose, so that its start has no one else to be taken for.
	for i := range group {
		if e := &group[i]; loose[i] && !e.is(flagLoose) {
			p.place(e.key(), e.at, true)
		}
	}
}

// refoldWeight is refold where every fact of the start gives its weight. Then
// only the open one and the ended ones of one weight meet.
func (p *Pair) refoldWeight(changed *key) {
	fact := p.must(changed)
	counts := fact.active()
	if changed.end != 0 {
		p.count(changed, counts)
	}
	open := *changed
	open.end = 0
	e := p.root.find(&open)
	if e == nil {
		return
	}
	loose := e.active() && !(changed.end != 0 && counts) && !p.anyEnded(&open)
	switch {
	case loose && !e.is(flagLoose):
		p.place(open, open.at, true)
	case !loose && e.is(flagLoose):
		p.tighten(&open)
	}
}

// anyEnded says whether an ended fact of that start and weight counts.
func (p *Pair) anyEnded(open *key) bool {
	from, found := *open, false
	from.end = 1
	p.root.visitAt(&from, func(e *entry) bool {
		if e.kind != entryFact || e.weight != open.weight {
			return false
		}
		found = e.active()
		return !found
	})
	return found
}

func containsKey(entries []entry, k *key) bool {
	for i := range entries {
		if entries[i].cmpKey(k) == 0 {
			return true
		}
	}
	return false
}

// foldStart says of the facts of one start which ended ones are holds, which
// holds arise besides, and which open ones stay open until a stop comes.
func foldStart(group []entry) (ended []bool, derived []entry, loose []bool) {
	ended, loose = make([]bool, len(group)), make([]bool, len(group))
	counts := func(e *entry) bool {
		// (1) A retract takes away the fact of the same content.
		return e.kind == entryFact && e.flags&(flagSent|flagRetracted) == flagSent
	}
	var (
		openWeights  []Weight        // of the open facts that give one
		endedWeights map[Weight]bool // of the ended facts that give one
		weighedEnds  map[int64]bool  // their ends
		anyEnded     bool
	)
	for i := range group {
		e := &group[i]
		if !counts(e) || !e.is(flagHasWeight) {
			continue
		}
		if e.end == 0 {
			openWeights = append(openWeights, e.weight)
			continue
		}
		if endedWeights == nil {
			endedWeights, weighedEnds = map[Weight]bool{}, map[int64]bool{}
		}
		endedWeights[e.weight], weighedEnds[e.end] = true, true
		ended[i], anyEnded = true, true
	}
	closesAll := false // an ended fact without weight is left
	for i := range group {
		e := &group[i]
		// (2) A fact without weight says nothing beside one with weight of the
		// same start, and the same end or both open.
		if !counts(e) || e.end == 0 || e.is(flagHasWeight) || weighedEnds[e.end] {
			continue
		}
		// (3) It becomes one hold for each open one that it closes, with that one's
		// weight.
		closesAll, anyEnded = true, true
		for _, w := range openWeights {
			derived = append(derived, entry{at: e.at, end: e.end, weight: w, kind: entryDerived, flags: flagHasWeight})
		}
		ended[i] = len(openWeights) == 0
	}
	for i := range group {
		e := &group[i]
		if !counts(e) || e.end != 0 {
			continue
		}
		if e.is(flagHasWeight) {
			loose[i] = !closesAll && !endedWeights[e.weight]
		} else {
			loose[i] = len(openWeights) == 0 && !anyEnded
		}
	}
	return ended, derived, loose
}
