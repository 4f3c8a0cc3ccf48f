package hold_test

// The model: sections 1 to 5 of docs/semantics.md, sentence by sentence, as slowly as it
// reads. It shares no code with the package it judges (only the types of an
// event, a fact and a weight), keeps nothing but the set of facts, and works
// every answer out again from them. The sentence that a step follows stands
// above it.

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"

	"holdmetrics/hold"
)

// modelHold is an effective hold as the model sees it. An open hold has end 0:
// no hold ends at the epoch.
type modelHold struct {
	id         string
	start, end int64
	weight     hold.Weight
}

// model is a pair: the policy and the set of facts.
type model struct {
	policy hold.Policy
	facts  map[hold.Fact]bool
	byID   map[string][]hold.Fact // the same, so that thousands of ids do not look at each other's
}

func newModel(policy hold.Policy) *model {
	return &model{policy: policy, facts: map[hold.Fact]bool{}, byID: map[string][]hold.Fact{}}
}

// modelFact is the model's own reading of what an event says.
//
// "What a pair keeps is a set of facts: hold facts (open or ended), stops (an
// end without a start), retracts. A fact is what an event says, in canonical
// form: what says nothing is left out (the weight of a stop or of its retract,
// the revision of what has no hold_id, start, end and weight of a retract of a
// hold by id), weights are numbers (1.0 is 1), and one that was not given is a
// value of its own."
func modelFact(e hold.Event) hold.Fact {
	f := hold.Fact{HoldID: e.HoldID}
	if e.HoldID != "" {
		f.Revision = e.Revision
	}
	stopShaped := e.Start == 0 && e.End != 0
	switch {
	case stopShaped && e.Retract:
		f.Kind, f.End = hold.KindRetractStop, e.End
		return f
	case stopShaped:
		f.Kind, f.End = hold.KindStop, e.End
		return f
	case e.Retract && e.HoldID != "":
		f.Kind = hold.KindRetractHold
		return f
	case e.Retract:
		f.Kind = hold.KindRetractHold
	default:
		f.Kind = hold.KindHold
	}
	f.Start, f.End, f.HasWeight = e.Start, e.End, e.HasWeight
	if e.HasWeight {
		f.Weight = e.Weight
	}
	return f
}

// add puts a fact into the set and reports whether it is new.
//
// "An equal fact is the same fact. Facts are only ever added."
func (m *model) add(f hold.Fact) bool {
	if m.facts[f] {
		return false
	}
	m.facts[f] = true
	m.byID[f.HoldID] = append(m.byID[f.HoldID], f)
	return true
}

// of lists the facts of one kind with the hold_id id ("" for those without).
func (m *model) of(kind hold.Kind, id string) []hold.Fact {
	var out []hold.Fact
	for _, f := range m.byID[id] {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	return out
}

// fold gives the effective holds, sorted, and the number of facts that wait.
//
// "The effective holds are a fold of the set."
func (m *model) fold() (holds []modelHold, waiting int) {
	ids := map[string]bool{}
	for f := range m.facts {
		if f.HoldID != "" {
			ids[f.HoldID] = true
		}
	}
	// "What carries a hold_id and what does not never touch each other."
	for id := range ids {
		h, ok, w := m.foldID(id)
		if ok {
			holds = append(holds, h)
		}
		waiting += w
	}
	hs, w := m.foldWithout()
	holds, waiting = append(holds, hs...), waiting+w
	sortHolds(holds)
	return holds, waiting
}

// sortHolds puts holds into one agreed order, open ones behind ended ones of the
// same start, so that multisets can be compared.
func sortHolds(holds []modelHold) {
	slices.SortFunc(holds, func(a, b modelHold) int {
		switch {
		case a.start != b.start:
			return cmp.Compare(a.start, b.start)
		case a.end != b.end:
			return cmp.Compare(cmp.Or(a.end, math.MaxInt64), cmp.Or(b.end, math.MaxInt64))
		case a.weight != b.weight:
			return modelWeight(a.weight).Cmp(modelWeight(b.weight))
		}
		return strings.Compare(a.id, b.id)
	})
}

// modelWeight is a weight as a plain integer of 1e-18 units.
func modelWeight(w hold.Weight) *big.Int {
	out := new(big.Int)
	for i := len(w) - 1; i >= 0; i-- {
		out.Lsh(out, 64)
		out.Or(out, new(big.Int).SetUint64(w[i]))
	}
	return out
}

// one is the weight 1.
var one = hold.Weight{1_000_000_000_000_000_000}

// foldID is the paragraph "With a hold_id".
func (m *model) foldID(id string) (h modelHold, ok bool, waiting int) {
	facts := m.of(hold.KindHold, id)
	stops := m.of(hold.KindStop, id)
	retracts := m.of(hold.KindRetractHold, id)
	stopRetracts := m.of(hold.KindRetractStop, id)

	// "A retract with an end and no start takes away that id's stops of that
	// end, of its own revision or lower, not the hold."
	var left []hold.Fact
	for _, s := range stops {
		gone := false
		for _, r := range stopRetracts {
			gone = gone || r.End == s.End && s.Revision <= r.Revision
		}
		if !gone {
			left = append(left, s)
		}
	}

	// Waiting: "a retract ... whose stop (by id: of its revision or lower), was
	// never sent".
	for _, r := range stopRetracts {
		sent := false
		for _, s := range stops {
			sent = sent || s.End == r.End && s.Revision <= r.Revision
		}
		if !sent {
			waiting++
		}
	}

	// Waiting: "a stop or the retract of a hold by an id that has no hold fact.
	// A retracted stop does not wait."
	if len(facts) == 0 {
		return h, false, waiting + len(left) + len(retracts)
	}

	// "Let r be the greatest revision among the hold facts of that id (absent =
	// 0)."
	var r uint64
	for _, f := range facts {
		r = max(r, f.Revision)
	}

	// "A retract of revision >= r means that there is no hold."
	for _, x := range retracts {
		if x.Revision >= r {
			return h, false, waiting
		}
	}

	// "Else the hold is the greatest of the facts of revision r (ended over
	// open, then the later start, the later end, the larger weight, any weight
	// over none)"
	var best hold.Fact
	var given *hold.Weight
	first := true
	for _, f := range facts {
		if f.Revision != r {
			continue
		}
		if first || greaterFact(f, best) {
			best, first = f, false
		}
		// "where it has no weight, that is the largest which the facts of
		// revision r give, else 1."
		if f.HasWeight && (given == nil || modelWeight(f.Weight).Cmp(modelWeight(*given)) > 0) {
			w := f.Weight
			given = &w
		}
	}
	h = modelHold{id: id, start: best.Start, weight: one}
	switch {
	case best.HasWeight:
		h.weight = best.Weight
	case given != nil:
		h.weight = *given
	}

	// "Its end is the word of the greatest revision: its own end, of revision r,
	// or the end of a stop of that id, of the stop's revision (stops before its
	// start do not count); at one revision its own beats a stop's, and the
	// smallest stop's the others'."
	type word struct {
		end      int64
		revision uint64
		own      bool
	}
	var words []word
	if best.End != 0 {
		words = append(words, word{best.End, r, true})
	}
	for _, s := range left {
		if s.End >= best.Start {
			words = append(words, word{s.End, s.Revision, false})
		}
	}
	for i, w := range words {
		beatsAll := true
		for j, o := range words {
			if i == j {
				continue
			}
			switch {
			case w.revision != o.revision:
				beatsAll = beatsAll && w.revision > o.revision
			case w.own != o.own:
				beatsAll = beatsAll && w.own
			default:
				beatsAll = beatsAll && w.end < o.end
			}
		}
		if beatsAll {
			h.end = w.end
		}
	}
	return h, true, waiting
}

// greaterFact orders the facts of one revision: "ended over open, then the
// later start, the later end, the larger weight, any weight over none".
func greaterFact(a, b hold.Fact) bool {
	switch {
	case (a.End != 0) != (b.End != 0):
		return a.End != 0
	case a.Start != b.Start:
		return a.Start > b.Start
	case a.End != b.End:
		return a.End > b.End
	case a.HasWeight && b.HasWeight:
		return modelWeight(a.Weight).Cmp(modelWeight(b.Weight)) > 0
	}
	return a.HasWeight && !b.HasWeight
}
