package generation

import (
	"fmt"
	"slices"
	"strconv"

	"holdmetrics/hold"
)

// differences are how two figures of a holder or pair differ.
type differences struct {
	rows  []Figure
	ahead bool // a line has a break ahead, so the lookahead is to be compared too
}

// differing returns the figures that differ. Lines are equal if they have the same value
// at any instant: they may begin at different ones. If one may have broken before the
// other begins, they cannot be compared here, but by their lookaheads.
func differing(textA, textB []byte) (d differences, err error) {
	a, _, err := hold.ParseFigures(textA)
	if err != nil {
		return d, err
	}
	b, _, err := hold.ParseFigures(textB)
	if err != nil {
		return d, err
	}
	d.ahead = a.Line.Until != 0 || b.Line.Until != 0
	add := func(name, a, b string) {
		if a != b {
			d.rows = append(d.rows, Figure{name, a, b})
		}
	}
	add("settled_score", a.Settled.Score.String(), b.Settled.Score.String())
	add("settled_held_seconds", a.Settled.Held.String(), b.Settled.Held.String())
	if t := max(a.Line.Since, b.Line.Since); a.Line.Since == b.Line.Since || a.Line.Holds(t) && b.Line.Holds(t) {
		add("rate", a.Line.Rate.String(), b.Line.Rate.String())
		add("held_rate", strconv.FormatUint(a.Line.HeldRate, 10), strconv.FormatUint(b.Line.HeldRate, 10))
		la, lb := a.Line.At(t), b.Line.At(t)
		add("live_score", la.Score.String(), lb.Score.String())
		add("live_held_seconds", la.Held.String(), lb.Held.String())
	}
	add("waiting", strconv.FormatUint(a.Waiting, 10), strconv.FormatUint(b.Waiting, 10))
	return d, nil
}

func differingTokens(a, b map[string][]byte) ([]string, error) {
	var tokens []string
	for token, figures := range a {
		same := b[token] != nil
		if same {
			d, err := differing(figures, b[token])
			if err != nil {
				return nil, err
			}
			same = len(d.rows) == 0
		}
		if !same {
			tokens = append(tokens, token)
		}
	}
	for token := range b {
		if a[token] == nil {
			tokens = append(tokens, token)
		}
	}
	return firstOf(tokens), nil
}

// firstOf returns the first tokens by name, and "and N more" if there are more.
func firstOf(tokens []string) []string {
	slices.Sort(tokens)
	if more := len(tokens) - tokensMost; more > 0 {
		return append(tokens[:tokensMost], fmt.Sprintf("and %d more", more))
	}
	return tokens
}
