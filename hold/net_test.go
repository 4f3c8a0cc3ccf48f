package hold_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// A difference of scores is what rational numbers say, below zero too.
func TestNet(t *testing.T) {
	t.Parallel()
	rat := func(t *rapid.T, text string) *big.Rat {
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("not a decimal: %q", text)
		}
		return r
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (s hold.Score) {
			copy(s[:5], rapid.SliceOfN(rapid.Uint64(), 0, 5).Draw(t, name))
			return s
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		net := a.Sub(b).Add(c.Sub(a)).Net() // c - b
		want := rat(t, c.String())
		want.Sub(want, rat(t, b.String()))
		if got := rat(t, net.String()); got.Cmp(want) != 0 || net.Negative != (want.Sign() < 0) {
			t.Fatalf("%v - %v is %v", c, b, net)
		}
		if f, _ := want.Float64(); net.Float64() != f {
			t.Fatalf("%v is the double %v, want %v", net, net.Float64(), f)
		}
	})
}
