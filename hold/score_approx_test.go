package hold

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestApprox(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s Score
		for i := range rapid.IntRange(0, len(s)).Draw(t, "limbs") {
			s[i] = rapid.Uint64().Draw(t, "limb")
		}
		if got, want := s.Approx(), s.Float64(); math.Abs(got-want) > want*1e-14 {
			t.Errorf("%s is about %v, want %v", s, got, want)
		}
	})
}
