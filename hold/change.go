package hold

// less is s - t, but not below 0.
func (s Score) less(t Score) Score {
	if s.Cmp(t) <= 0 {
		return Score{}
	}
	return s.Sub(t)
}

// Change is the difference of two scores, such as the score of a window (S1.9). Changes compare with ==.
type Change struct {
	By       Score
	Negative bool
}

func changeOf(from, to Score) Change {
	if from.Cmp(to) > 0 {
		return Change{from.Sub(to), true}
	}
	return Change{By: to.Sub(from)}
}

// String is the exact decimal in weight-seconds, with a minus where it is negative.
func (c Change) String() string {
	if c.Negative {
		return "-" + c.By.String()
	}
	return c.By.String()
}

// Net is what a score that came of Sub, and of Add with others like it, is below zero
// too: the sums of scores that are not differences do not reach the highest bit.
func (s Score) Net() Change {
	if s[len(s)-1]>>63 == 0 {
		return Change{By: s}
	}
	return Change{By: Score{}.Sub(s), Negative: true}
}

// Float64 is the double nearest to the change, in weight-seconds.
func (c Change) Float64() float64 {
	if c.Negative {
		return -c.By.Float64()
	}
	return c.By.Float64()
}
