// Package testseed gives seeds to tests that draw. Without more, a test draws the same
// seeds every time. A hunt runs the tests hundreds of times; it sets [Variable], and each
// of its runs draws a few seeds that no other run has.
package testseed

import (
	"fmt"
	"iter"
	"os"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Variable is the environment variable with the seed of a run: a number from 1 on. A run
// that failed is repeated with the seed that it had.
const Variable = "HOLDMETRICS_TEST_SEED"

// Of returns the seed of a test, or of what else has a name: always the same one, and
// another one in each run of a hunt.
func Of(name string) uint64 { return of(name, fresh()) }

func of(name string, run uint64) uint64 {
	if run == 0 {
		return xxhash.Sum64String(name)
	}
	return xxhash.Sum64String(fmt.Sprint(name, " ", run))
}

// Seeds returns the seeds that a property is tried with: 0 to n-1 or, in a run of a hunt,
// a hundredth of as many fresh ones, at least one.
func Seeds(name string, n uint64) iter.Seq[uint64] { return seeds(name, n, fresh()) }

func seeds(name string, n, run uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if run != 0 {
			n = max(n/100, 1)
		}
		for seed := range n {
			if run != 0 {
				seed = of(fmt.Sprint(name, "/", seed), run)
			}
			if !yield(seed) {
				return
			}
		}
	}
}

// Draws is how often a property is tried: n times, but under the race detector, which makes
// computing some eight times slower and finds nothing more in a computation, a fifth of n and
// at least once. It is for the properties of the packages that 'make test' tests without
// the race detector as well, where all n are tried.
func Draws(n uint64) uint64 { return draws(n, underRace) }

func draws(n uint64, race bool) uint64 {
	if race {
		return max(n/5, 1)
	}
	return n
}

// fresh is the seed of this run; 0: it is not one of a hunt.
func fresh() uint64 {
	n, err := strconv.ParseUint(os.Getenv(Variable), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
