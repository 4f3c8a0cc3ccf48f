package hold_test

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"holdmetrics/hold"
)

// parseRule reads `rule [multiplier=M] [season=FROM..TO] [shortest=LENGTH]
// [boost=run|hold:AFTER*FACTOR,...]`.
func parseRule(words []string) *hold.Rule {
	r := hold.PlainRule(hold.Merge)
	millionths := func(s string) uint64 {
		w, err := hold.ParseWeight(s)
		if err != nil {
			panic(err)
		}
		return w[0] / 1e12
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "multiplier":
			r.Multiplier = millionths(value)
		case "season":
			from, to, _ := strings.Cut(value, "..")
			if from != "" {
				r.SeasonFrom = parseInstant(from)
			}
			if to != "" {
				r.SeasonTo = parseInstant(to)
			}
		case "shortest":
			r.Shortest = parseInstant(value)
		case "boost":
			by, steps, _ := strings.Cut(value, ":")
			if by == "hold" {
				r.BoostBy = hold.ByHold
			}
			for step := range strings.SplitSeq(steps, ",") {
				after, factor, _ := strings.Cut(step, "*")
				r.Boosts = append(r.Boosts, hold.Boost{After: parseInstant(after), Factor: millionths(factor)})
			}
		default:
			panic("no setting " + word)
		}
	}
	if err := r.Check(); err != nil {
		panic(err)
	}
	return r
}

// of is the rule under another policy.
func ruleOf(r *hold.Rule, policy hold.Policy) *hold.Rule {
	other := *r
	other.Policy = policy
	return &other
}

// explains answers how much each hold counts in a window.
type explains interface {
	explain(from, to int64) string
}

// inUnits returns an amount of the model of rules in the units of the other model.
func inUnits(a modelAmount) modelAmount {
	score, rest := new(big.Int).QuoRem(a.score, big.NewInt(1_000_000_000_000), new(big.Int))
	if rest.Sign() != 0 {
		panic("a score has more digits than a transcript tells")
	}
	return modelAmount{score, a.held}
}

// ruledModelView is what the model says by a rule.
type ruledModelView struct {
	modelView
	by ruled
}

func (v ruledModelView) settled() modelAmount          { return inUnits(v.by.settled()) }
func (v ruledModelView) settledAt(t int64) modelAmount { return inUnits(v.by.settledAt(t)) }
func (v ruledModelView) live(t int64) modelAmount      { return inUnits(v.by.live(t)) }

// line looks for the first instant after t at which the next nanosecond brings
// something else than the one after t does.
func (v ruledModelView) line(t int64) string {
	step := func(t int64) modelAmount { return v.by.live(t + 1).sub(v.by.live(t)) }
	slope, until := step(t), int64(0)
	list := v.by.stretches(hold.MaxTime, false)
	candidates := v.by.cuts(list, runsOf(list))
	for _, run := range runsOf(list) {
		candidates = append(candidates, run.from+v.by.r.Shortest, run.from+v.by.r.Shortest-1)
	}
	slices.Sort(candidates)
	for _, c := range candidates {
		if c > t && c < hold.MaxTime && !step(c).equal(slope) {
			until = c
			break
		}
	}
	now := inUnits(modelAmount{slope.score, slope.held})
	return formatLine(v.live(t), now.score, int(slope.held.Int64()), until)
}

func (v ruledModelView) explain(from, to int64) string {
	before, after := v.by.shares(from), v.by.shares(to)
	var out []string
	for i, h := range v.by.holds {
		alone := v.by.alone(i)
		share := window(before[i], after[i])
		out = append(out, explained(h, inUnits(alone.live(to).sub(alone.live(from))), inUnits(share)))
	}
	return strings.Join(out, "\n")
}

func explained(h modelHold, alone, counted modelAmount) string {
	return fmt.Sprintf("%s: alone %s, counted %s", formatHolds([]modelHold{h}), alone, counted)
}

// ruledRealView is what the package says by a rule.
type ruledRealView struct {
	realView
	r *hold.Rule
}

func (v ruledRealView) settled() modelAmount { return inUnits(ruledAmount(v.r.Settled(v.Pair))) }
func (v ruledRealView) settledAt(t int64) modelAmount {
	return inUnits(ruledAmount(v.r.SettledAt(v.Pair, t)))
}
func (v ruledRealView) live(t int64) modelAmount { return inUnits(ruledAmount(v.r.LiveAt(v.Pair, t))) }

func (v ruledRealView) line(t int64) string {
	f := v.r.Figures(v.Pair, t)
	if !f.Line.Holds(t) || !ruledAmount(f.Settled).equal(ruledAmount(v.r.Settled(v.Pair))) {
		return fmt.Sprintf("figures for %d: %+v", t, f)
	}
	rate := inUnits(ruledAmount(hold.Amount{Score: hold.Score(f.Line.Rate)}))
	return formatLine(inUnits(ruledAmount(f.Line.At(t))), rate.score, int(f.Line.HeldRate), f.Line.Until)
}

// explain tells the holds that say nothing too, as the model does.
func (v ruledRealView) explain(from, to int64) string {
	parts := v.r.Explain(v.Pair, from, to)
	var out []string
	for _, h := range v.holds() {
		var c hold.Contribution
		for _, p := range parts {
			if p.Start == h.start && p.End == h.end && p.Weight == h.weight && p.HoldID == h.id {
				c = p
			}
		}
		out = append(out, explained(h, inUnits(ruledAmount(c.Alone)), inUnits(ruledAmount(c.Counted))))
	}
	return strings.Join(out, "\n")
}

// byRule puts the rule of a case over its views.
func (w *world) byRule(views map[hold.Policy]view) map[hold.Policy]view {
	if w.rule == nil {
		return views
	}
	out := map[hold.Policy]view{}
	for policy, v := range views {
		r := ruleOf(w.rule, policy)
		switch v := v.(type) {
		case modelView:
			out[policy] = ruledModelView{v, ruled{v.modelState, r}}
		case realView:
			out[policy] = ruledRealView{v, r}
		default:
			panic("a view of " + strconv.Quote(w.name))
		}
	}
	return out
}
