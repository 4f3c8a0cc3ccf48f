package hold

// cover makes areas count a hold, or no longer count it. Its entry must not
// cover anything in the tree while it runs.
func (p *Pair) cover(at, end int64, w *Weight, negative bool) {
	if end == 0 {
		p.raise(allHolds, at, MaxTime, w, negative)
		return
	}
	if p.root.lastEnd[allHolds] != forever && p.root.leaf() {
		// Without open holds both families are the same.
		p.raise(allHolds, at, end, w, negative)
		p.root.areas[endedHolds] = p.root.areas[allHolds]
		return
	}
	p.raise(allHolds, at, end, w, negative)
	p.raise(endedHolds, at, end, w, negative)
}

// count makes the entry of that key an effective hold, or none.
func (p *Pair) count(k *key, on bool) {
	e := p.must(k)
	if e.is(flagCovers) == on {
		return
	}
	at, end, w := e.at, e.effEnd(), e.weight
	if on {
		p.cover(at, end, &w, false)
	}
	p.root.update(k, p.policy, func(e *entry) {
		e.flags ^= flagCovers
		if e.is(flagLoose) {
			e.flags &^= flagLoose
			e.eff = 0
		}
	})
	if !on {
		p.cover(at, end, &w, true)
	}
}

// countLoose makes the entry of that key an effective hold that the stop at eff
// ends, or none (0), and moves its end where it counted already. What grows is
// raised before the tree shows it, what shrinks is taken away after.
func (p *Pair) countLoose(k *key, eff int64) {
	e := p.must(k)
	at, was, w := e.at, e.eff, e.weight
	counted := e.is(flagCovers)
	if counted && was == eff {
		return
	}
	change := func(e *entry) {
		e.flags |= flagCovers | flagLoose
		e.eff = eff
	}
	if !counted {
		p.cover(at, eff, &w, false)
		p.root.update(k, p.policy, change)
		return
	}
	from, to := was, eff
	if from == 0 {
		from = MaxTime
	}
	if to == 0 {
		to = MaxTime
	}
	if from < to {
		p.raise(allHolds, from, to, &w, false)
	}
	switch {
	case was == 0:
		p.raise(endedHolds, at, eff, &w, false)
	case eff > was:
		p.raise(endedHolds, was, eff, &w, false)
	}
	p.root.update(k, p.policy, change)
	if to < from {
		p.raise(allHolds, to, from, &w, true)
	}
	switch {
	case eff == 0:
		p.raise(endedHolds, at, was, &w, true)
	case eff < was:
		p.raise(endedHolds, eff, was, &w, true)
	}
}
