package hold_test

import (
	"cmp"
	"slices"

	"holdmetrics/hold"
)

// openHold is a hold without an end, on its way through steps (3) and (4).
type openHold struct {
	fact   hold.Fact
	closed bool
	end    int64
}

// foldWithout is the paragraph "Without, in this order".
func (m *model) foldWithout() (holds []modelHold, waiting int) {
	facts := m.of(hold.KindHold, "")
	stops := m.of(hold.KindStop, "")
	retracts := m.of(hold.KindRetractHold, "")
	stopRetracts := m.of(hold.KindRetractStop, "")

	// "(1) A retract takes away the fact of the same content: start, end and
	// weight, or, with an end alone, that stop"
	facts, lost := takeAway(facts, retracts, func(f, r hold.Fact) bool {
		return f.Start == r.Start && f.End == r.End && f.HasWeight == r.HasWeight && f.Weight == r.Weight
	})
	// Waiting: "a retract whose content, or whose stop, was never sent".
	waiting += lost
	stops, lost = takeAway(stops, stopRetracts, func(s, r hold.Fact) bool { return s.End == r.End })
	waiting += lost

	// "(2) A fact without weight says nothing beside one with weight of the same
	// start, and the same end or both open."
	byStart := map[int64][]hold.Fact{}
	for _, f := range facts {
		byStart[f.Start] = append(byStart[f.Start], f)
	}
	var opens []*openHold
	for _, same := range byStart {
		var closers []hold.Fact
		var open []*openHold
		for _, f := range same {
			nothing := false
			for _, g := range same {
				nothing = nothing || !f.HasWeight && g.HasWeight && f.End == g.End
			}
			switch {
			case nothing:
			case f.End == 0:
				open = append(open, &openHold{fact: f})
			default:
				closers = append(closers, f)
			}
		}
		// "(3) An ended fact closes every open one, of those that (2) left, of
		// its start whose weight is the same, or where one of the two has none.
		// It becomes one hold; one without weight becomes one hold for each open
		// one that it closes, with that one's weight."
		for _, c := range closers {
			var closes []hold.Fact
			for _, o := range open {
				if !c.HasWeight || !o.fact.HasWeight || c.Weight == o.fact.Weight {
					o.closed = true
					closes = append(closes, o.fact)
				}
			}
			if c.HasWeight || len(closes) == 0 {
				holds = append(holds, modelHold{start: c.Start, end: c.End, weight: weightOrOne(c)})
				continue
			}
			for _, o := range closes {
				holds = append(holds, modelHold{start: c.Start, end: c.End, weight: weightOrOne(o)})
			}
		}
		// "An open fact that nothing closed is an open hold."
		for _, o := range open {
			if !o.closed {
				opens = append(opens, o)
			}
		}
	}

	// "(4) The stops, by ascending end: each ends, among the holds that have no
	// end yet, the latest-started of those that started before it, and if
	// no such hold exists, one that started in that very instant (of equal starts, the
	// larger weight first)."
	slices.SortFunc(stops, func(a, b hold.Fact) int { return cmp.Compare(a.End, b.End) })
	for _, s := range stops {
		var ends *openHold
		for _, o := range opens {
			if o.end == 0 && o.fact.Start < s.End && (ends == nil || laterOpen(o, ends)) {
				ends = o
			}
		}
		if ends == nil {
			for _, o := range opens {
				if o.end == 0 && o.fact.Start == s.End && (ends == nil || laterOpen(o, ends)) {
					ends = o
				}
			}
		}
		if ends == nil {
			// Waiting: "a stop without hold_id that ends nothing".
			waiting++
			continue
		}
		ends.end = s.End
	}
	for _, o := range opens {
		holds = append(holds, modelHold{start: o.fact.Start, end: o.end, weight: weightOrOne(o.fact)})
	}
	return holds, waiting
}

// weightOrOne: "From here on no weight is 1."
func weightOrOne(f hold.Fact) hold.Weight {
	if f.HasWeight {
		return f.Weight
	}
	return one
}

// laterOpen: "the latest-started ... (of equal starts, the larger weight first)".
func laterOpen(a, b *openHold) bool {
	if a.fact.Start != b.fact.Start {
		return a.fact.Start > b.fact.Start
	}
	return modelWeight(weightOrOne(a.fact)).Cmp(modelWeight(weightOrOne(b.fact))) > 0
}

// takeAway gives the facts that no retract names, and how many retracts name
// nothing.
func takeAway(facts, retracts []hold.Fact, names func(f, r hold.Fact) bool) (left []hold.Fact, lost int) {
	for _, f := range facts {
		if !slices.ContainsFunc(retracts, func(r hold.Fact) bool { return names(f, r) }) {
			left = append(left, f)
		}
	}
	for _, r := range retracts {
		if !slices.ContainsFunc(facts, func(f hold.Fact) bool { return names(f, r) }) {
			lost++
		}
	}
	return left, lost
}
