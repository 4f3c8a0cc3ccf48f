package interval

import (
	"math/bits"

	"holdmetrics/hold/internal/limbs"
)

// Area is a score before any multiplier, in units of 1e-18 weight x ns, and the
// nanoseconds held beside it. All arithmetic is modulo the width, so something may
// be taken away before it was added.
type Area struct {
	Sum  [6]uint64
	Held uint64
}

// Add adds b to a.
func (a *Area) Add(b *Area) {
	limbs.Add(a.Sum[:], b.Sum[:])
	a.Held += b.Held
}

// Sub takes b away from a.
func (a *Area) Sub(b *Area) {
	limbs.Sub(a.Sum[:], b.Sum[:])
	a.Held -= b.Held
}

// Hold adds a hold of weight w over ns nanoseconds.
func (a *Area) Hold(w *Weight, ns uint64) { a.raise(w, ns, true, false) }

// AddLevel adds a weight of level over ns nanoseconds, or takes it away. The held
// time stays.
func (a *Area) AddLevel(level *Weight, ns uint64, negative bool) {
	var product [6]uint64
	var carry uint64
	for i := range level {
		hi, lo := bits.Mul64(level[i], ns)
		var c uint64
		product[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	product[len(level)] = carry
	if negative {
		limbs.Sub(a.Sum[:], product[:])
	} else {
		limbs.Add(a.Sum[:], product[:])
	}
}

// raise is AddLevel, with the time itself if that is held as well.
func (a *Area) raise(level *Weight, ns uint64, held, negative bool) {
	a.AddLevel(level, ns, negative)
	switch {
	case !held:
	case negative:
		a.Held -= ns
	default:
		a.Held += ns
	}
}

// addTimes adds what a level per ns comes to in ns nanoseconds.
func (a *Area) addTimes(level *Area, ns uint64) {
	var product [6]uint64
	limbs.Mul(product[:], level.Sum[:], ns)
	limbs.Add(a.Sum[:], product[:])
	a.Held += level.Held * ns
}

func (a *Area) subTimes(level *Area, ns uint64) {
	var product Area
	product.addTimes(level, ns)
	a.Sub(&product)
}

// Family is a set of effective holds whose area is kept.
type Family uint8

// The families.
const (
	AllHolds   Family = iota // an open hold counts up to MaxTime
	EndedHolds               // ended holds only
)
