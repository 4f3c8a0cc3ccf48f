package hold

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
