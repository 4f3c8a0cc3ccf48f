package crash

import (
	"fmt"
	"math/big"
	"testing"

	holdpb "holdmetrics/proto"
)

// figuresOf returns the figures of a snapshot as of an instant that its line reaches.
func figuresOf(t *testing.T, s *holdpb.HoldStat, at int64) string {
	since := s.Since.AsTime().UnixNano()
	if until := s.Until; at < since || until != nil && at >= until.AsTime().UnixNano() {
		return fmt.Sprintf("a line from %v to %v, which does not reach the instant asked for", s.Since.AsTime(), s.Until.AsTime())
	}
	passed := big.NewRat(at-since, 1e9)
	live := new(big.Rat).Mul(exact(t, s.LiveRate), passed)
	held := new(big.Rat).Mul(new(big.Rat).SetUint64(s.LiveHeldRate), passed)
	live.Add(live, exact(t, s.LiveBase))
	held.Add(held, exact(t, s.LiveHeldBase))
	return line(exact(t, s.ScoreExact), exact(t, s.HeldExact), live, held, s.Waiting)
}

func line(settled, settledHeld, live, held *big.Rat, waiting uint64) string {
	return fmt.Sprintf("settled %s held %s, live %s held %s, waiting %d",
		settled.RatString(), settledHeld.RatString(), live.RatString(), held.RatString(), waiting)
}

// exact reads a decimal; an absent one is 0.
func exact(t *testing.T, decimal string) *big.Rat {
	if decimal == "" {
		return new(big.Rat)
	}
	r, ok := new(big.Rat).SetString(decimal)
	if !ok {
		t.Errorf("%q is no decimal", decimal)
		return new(big.Rat)
	}
	return r
}
