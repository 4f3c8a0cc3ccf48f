// Package hold is the domain of holdmetrics: what a hold event is, when it is
// accepted, what a pair of a token and a holder keeps of it, and which exact
// figures follow.
//
// The package is pure: no I/O, no clock, no float arithmetic, and no goroutines
// but those of [Settled], which waits for them. Nothing in it is safe for
// concurrent use unless it says so; values are.
//
// An event comes in as a [Draft], is checked by [Draft.Check] into an [Event],
// and says one [Fact]. A [Pair] is a set of facts and what folds from it:
//
//	Draft ─Check─▶ Event ─Fact─▶ Fact ─Add─▶ Pair ─▶ Holds, Figures
//
// Who has many facts of many pairs at hand adds them with [AddAll]; who only wants
// the score of a slice of events, and keeps nothing, asks [Settled].
//
// Facts are only ever added and their order does not matter: any permutation
// and any duplication of the same facts gives the same holds and figures.
//
// Units: times are nanoseconds since the Unix epoch, weights are units of
// 1e-18, scores are units of 1e-33 weight-seconds (1e-18 of weight, 1e-9 of a
// second, 1e-6 of a multiplier), held times are nanoseconds.
package hold
