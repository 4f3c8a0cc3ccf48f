package hold_test

// The model of rules: what the doc comment of hold.Rule says, sentence by
// sentence. It cuts time at every instant at which anything could change, asks of
// each stretch what counts there, and adds up.

import (
	"math"
	"math/big"
	"slices"

	"holdmetrics/hold"
)

// ruled is a state read by a rule. Scores have units of 1e-39 weight-seconds: 1e-18
// of a weight, 1e-9 of a second, 1e-6 of a multiplier and 1e-6 of a factor.
type ruled struct {
	*modelState
	r *hold.Rule
}

// stretch is as much of a hold as is looked at.
type stretch struct {
	from, to int64
	weight   *big.Int
	index    int // of the hold
}

func (s ruled) stretches(t int64, settled bool) []stretch {
	var out []stretch
	for i, h := range s.holds {
		to := t
		switch {
		case settled && (h.end == 0 || h.end > t):
			continue
		case h.end != 0:
			to = min(h.end, t)
		}
		if h.start < to {
			out = append(out, stretch{h.start, to, s.weights[i], i})
		}
	}
	return out
}

// runs: "A run is a maximal time without a gap in which the pair is held."
func runsOf(list []stretch) []span {
	var out []span
	for _, s := range slices.SortedFunc(slices.Values(list), func(a, b stretch) int { return int(a.from - b.from) }) {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			out = append(out, span{from: s.from, to: s.to})
		}
	}
	return out
}

// factor is that "of the last step with After <= age, 1 before the first", in 1e-6.
func (s ruled) factor(age int64) *big.Int {
	f := big.NewInt(hold.MultiplierOne)
	for _, b := range s.r.Boosts {
		if b.After <= age {
			f = new(big.Int).SetUint64(b.Factor)
		}
	}
	return f
}

// cuts are the instants, within what is looked at, where anything could change.
func (s ruled) cuts(list []stretch, runs []span) []int64 {
	var out []int64
	steps := func(from int64) {
		out = append(out, from)
		for _, b := range s.r.Boosts {
			if b.After <= math.MaxInt64-from {
				out = append(out, from+b.After)
			}
		}
	}
	for _, x := range list {
		steps(x.from)
		out = append(out, x.to)
	}
	for _, x := range runs {
		steps(x.from)
		out = append(out, x.to)
	}
	out = append(out, s.r.SeasonFrom, s.r.SeasonTo)
	slices.Sort(out)
	return slices.Compact(out)
}

// counted calls fn with each stretch of time that counts, the holds that cover it
// with their weights as they are boosted, and which of them count.
func (s ruled) counted(list []stretch, fn func(from, to int64, which []int, weights []*big.Int)) {
	runs := runsOf(list)
	cuts := s.cuts(list, runs)
	for i := 1; i < len(cuts); i++ {
		from, to := cuts[i-1], cuts[i]
		if from < s.r.SeasonFrom || s.r.SeasonTo != 0 && from >= s.r.SeasonTo {
			continue
		}
		for _, run := range runs {
			if from < run.from || from >= run.to || run.to-run.from < s.r.Shortest {
				continue
			}
			var which []int
			var weights []*big.Int
			var largest *big.Int // by the weight as the policy takes it
			for _, x := range list {
				if x.from > from || x.to <= from {
					continue
				}
				age := from - run.from
				if s.r.BoostBy == hold.ByHold {
					age = from - x.from
				}
				w := new(big.Int).Mul(x.weight, s.factor(age))
				w.Mul(w, new(big.Int).SetUint64(s.r.Multiplier))
				taken := x.weight
				if s.r.BoostBy == hold.ByHold && len(s.r.Boosts) > 0 {
					taken = w
				}
				switch {
				case s.policy == hold.Sum:
					which, weights = append(which, x.index), append(weights, w)
				case largest == nil || taken.Cmp(largest) > 0:
					which, weights, largest = []int{x.index}, []*big.Int{w}, taken
				}
			}
			fn(from, to, which, weights)
		}
	}
}

func (s ruled) amount(list []stretch) modelAmount {
	out := modelAmount{new(big.Int), new(big.Int)}
	s.counted(list, func(from, to int64, _ []int, weights []*big.Int) {
		length := big.NewInt(to - from)
		out.held.Add(out.held, length)
		for _, w := range weights {
			out.score.Add(out.score, w.Mul(w, length))
		}
	})
	return out
}

func (s ruled) live(t int64) modelAmount      { return s.amount(s.stretches(t, false)) }
func (s ruled) settledAt(t int64) modelAmount { return s.amount(s.stretches(t, true)) }
func (s ruled) settled() modelAmount          { return s.settledAt(math.MaxInt64) }

// shares are what each hold counts as of t, by its place among the holds.
func (s ruled) shares(t int64) map[int]modelAmount {
	out := map[int]modelAmount{}
	s.counted(s.stretches(t, false), func(from, to int64, which []int, weights []*big.Int) {
		for i, index := range which {
			a, ok := out[index]
			if !ok {
				a = modelAmount{new(big.Int), new(big.Int)}
				out[index] = a
			}
			length := big.NewInt(to - from)
			a.held.Add(a.held, length)
			a.score.Add(a.score, weights[i].Mul(weights[i], length))
		}
	})
	return out
}

// alone is a state of that hold only.
func (s ruled) alone(i int) ruled {
	only := *s.modelState
	only.holds, only.weights = s.holds[i:i+1], s.weights[i:i+1]
	return ruled{&only, s.r}
}

// ruledAmount is an amount of the package in the model's units.
func ruledAmount(a hold.Amount) modelAmount {
	score := limbs(a.Score[:])
	return modelAmount{score.Mul(score, big.NewInt(1_000_000)), limbs(a.Held[:])}
}
