package query

import (
	"holdmetrics/hold"
	"holdmetrics/projection"
)

// pairFigures are the figures of one pair in the window of a query.
type pairFigures struct {
	live, settled hold.Amount
	weight, rate  hold.Rate
}

// pairRow returns the figures of one pair, with neither its ids nor its time.
func pairRow(r *projection.PairRecord, q ScoreQuery) (Row, error) {
	f, err := figuresOf(r, q, true)
	return Row{Live: f.live, Settled: f.settled, Weight: f.weight, Rate: f.rate}, err
}

// amounts returns the figures of one pair without its weight and rate.
func amounts(r *projection.PairRecord, q ScoreQuery) (live, settled hold.Amount, err error) {
	f, err := figuresOf(r, q, false)
	return f.live, f.settled, err
}

// figuresOf returns the figures of one pair. What is stored beside the pair is enough
// where now is asked for and no line breaks before it, unless a rule hides the weight;
// else the pair is opened.
func figuresOf(r *projection.PairRecord, q ScoreQuery, withWeight bool) (f pairFigures, err error) {
	rule, line := q.rules.Of(r.Key.Token), &r.Figures.Line
	stored := q.now(&r.Figures)
	if stored {
		f = pairFigures{line.At(q.At), r.Figures.Settled, line.Rate, line.Rate}
		if !withWeight || countsWeights(rule) {
			return f, nil
		}
	}
	pair, err := r.Open()
	if err != nil {
		return f, err
	}
	switch {
	case stored:
		f.weight = weightAt(pair, q.At)
	case q.asOf:
		f = q.of(rule, pair)
	default:
		all := rule.Figures(pair, q.At)
		f = pairFigures{all.Line.Base, r.Figures.Settled, weightOf(rule, pair, &all.Line), all.Line.Rate}
	}
	return f, r.Check(pair)
}

// countsWeights reports whether a rule counts weights as they are, always.
func countsWeights(r *hold.Rule) bool {
	return r.Multiplier == hold.MultiplierOne && r.SeasonFrom == 0 && r.SeasonTo == 0 && r.Shortest == 0 && len(r.Boosts) == 0
}

// weightOf returns what a pair holds at the beginning of a line by a rule.
func weightOf(r *hold.Rule, p *hold.Pair, l *hold.Line) hold.Rate {
	if countsWeights(r) {
		return l.Rate
	}
	return weightAt(p, l.Since)
}

// weightAt returns what a pair holds at an instant, by its policy, whatever the rules.
func weightAt(p *hold.Pair, at int64) hold.Rate {
	f := p.Figures(at)
	return f.Line.Rate
}
