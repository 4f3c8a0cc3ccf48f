package hold_test

import (
	"cmp"
	"math/big"
	"slices"
	"strings"

	"holdmetrics/hold"
)

// modelAmount is a score in 1e-27 weight-seconds (1e-18 weight times a
// nanosecond) and a held time in nanoseconds.
type modelAmount struct{ score, held *big.Int }

func (a modelAmount) equal(b modelAmount) bool {
	return a.score.Cmp(b.score) == 0 && a.held.Cmp(b.held) == 0
}

func (a modelAmount) sub(b modelAmount) modelAmount {
	return modelAmount{new(big.Int).Sub(a.score, b.score), new(big.Int).Sub(a.held, b.held)}
}

// String prints exact decimals: weight-seconds and seconds.
func (a modelAmount) String() string {
	return "score " + decimal(a.score, 27) + " held " + decimal(a.held, 9)
}

// decimal prints v / 10^digits, without an exponent and without trailing zeros.
func decimal(v *big.Int, digits int) string {
	sign := ""
	if v.Sign() < 0 {
		sign = "-"
	}
	s := new(big.Int).Abs(v).String()
	if len(s) <= digits {
		s = strings.Repeat("0", digits-len(s)+1) + s
	}
	whole, rest := s[:len(s)-digits], strings.TrimRight(s[len(s)-digits:], "0")
	if rest == "" {
		return sign + whole
	}
	return sign + whole + "." + rest
}

// span is a stretch of time with a weight.
type span struct {
	from, to int64
	weight   *big.Int
}

// integrate adds up the elementary stretches between two neighbouring ends.
//
// "merge (the default) counts, at every instant, the largest weight among the
// pair's holds that cover it, so no instant counts twice; sum adds the weights
// of overlapping holds". "score(pair, T) = the integral of that weight over
// time, in weight-seconds. held(pair, T) = the length of time covered by at
// least one hold, whatever its weight."
func integrate(policy hold.Policy, spans []span) modelAmount {
	out := modelAmount{new(big.Int), new(big.Int)}
	var cuts []int64
	for _, s := range spans {
		if s.from < s.to {
			cuts = append(cuts, s.from, s.to)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	rest := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var begun []span // and not ended
	for i := 1; i < len(cuts); i++ {
		for len(rest) > 0 && rest[0].from <= cuts[i-1] {
			begun, rest = append(begun, rest[0]), rest[1:]
		}
		begun = slices.DeleteFunc(begun, func(s span) bool { return s.to <= cuts[i-1] })
		weight, covered := weightIn(policy, begun, cuts[i-1], cuts[i])
		if !covered {
			continue
		}
		length := big.NewInt(cuts[i] - cuts[i-1])
		out.score.Add(out.score, weight.Mul(weight, length))
		out.held.Add(out.held, length)
	}
	return out
}

// weightIn is the weight that counts in [from, to), where no span begins or
// ends inside.
func weightIn(policy hold.Policy, spans []span, from, to int64) (weight *big.Int, covered bool) {
	weight = new(big.Int)
	for _, s := range spans {
		if s.from > from || to > s.to {
			continue
		}
		covered = true
		if policy == hold.Sum {
			weight.Add(weight, s.weight)
		} else if s.weight.Cmp(weight) > 0 {
			weight.Set(s.weight)
		}
	}
	return weight, covered
}

// modelState is the fold of a model at one moment, so that many questions cost
// one fold.
type modelState struct {
	policy  hold.Policy
	holds   []modelHold
	weights []*big.Int
	waiting int
}

func (m *model) state() *modelState {
	s := &modelState{policy: m.policy}
	s.holds, s.waiting = m.fold()
	for _, h := range s.holds {
		s.weights = append(s.weights, modelWeight(h.weight))
	}
	return s
}

// live: "As of a time T, a hold covers [start, min(end, T)); an open hold covers
// up to T; a hold that starts at or after T covers nothing."
func (s *modelState) live(t int64) modelAmount {
	var spans []span
	for i, h := range s.holds {
		to := t
		if h.end != 0 {
			to = min(h.end, t)
		}
		if h.start >= t {
			continue
		}
		spans = append(spans, span{h.start, to, s.weights[i]})
	}
	return integrate(s.policy, spans)
}

// settled: "Settled figures count ended holds only: ... without a T, all ended
// ones."
func (s *modelState) settled() modelAmount {
	return s.settledIf(func(modelHold) bool { return true })
}

// settledAt: "as of T, those with end <= T".
func (s *modelState) settledAt(t int64) modelAmount {
	return s.settledIf(func(h modelHold) bool { return h.end <= t })
}

func (s *modelState) settledIf(counts func(modelHold) bool) modelAmount {
	var spans []span
	for i, h := range s.holds {
		if h.end != 0 && counts(h) {
			spans = append(spans, span{h.start, h.end, s.weights[i]})
		}
	}
	return integrate(s.policy, spans)
}

// window: "A window [from, to) is score(to) - score(from)."
func (s *modelState) window(from, to int64) modelAmount {
	return s.live(to).sub(s.live(from))
}

// slope is the weight and the held rate that count in the nanosecond after t.
func (s *modelState) slope(t int64) (weight *big.Int, held bool) {
	var spans []span
	for i, h := range s.holds {
		if h.start <= t && (h.end == 0 || h.end > t) {
			spans = append(spans, span{h.start, t + 1, s.weights[i]})
		}
	}
	return weightIn(s.policy, spans, t, t+1)
}

// ends lists every instant at which a hold begins or ends.
func (s *modelState) ends() []int64 {
	var out []int64
	for _, h := range s.holds {
		out = append(out, h.start)
		if h.end != 0 {
			out = append(out, h.end)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// breaks lists the instants at which the line of the live figures truly breaks:
// where the weight that counts, or whether any counts, is another than in the
// nanosecond before.
func (s *modelState) breaks() []int64 {
	var out []int64
	for _, t := range s.ends() {
		before, heldBefore := s.slope(t - 1)
		after, heldAfter := s.slope(t)
		if before.Cmp(after) != 0 || heldBefore != heldAfter {
			out = append(out, t)
		}
	}
	return out
}
