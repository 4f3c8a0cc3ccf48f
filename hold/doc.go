// Package hold is the domain of holdmetrics: events and their validation, facts, the
// pairs that keep them, and the exact figures of pairs.
//
// The package is pure: no I/O, no clock, no float arithmetic (S7.5) and no goroutines. Values
// are safe for concurrent use. Types with pointer methods are not, unless their comment
// states otherwise.
//
// An event arrives as a [Draft]. [Draft.Check] validates it and returns an [Event].
// Every event states one [Fact]. A [Pair] is a set of facts and the holds that follow:
//
//	Draft ─Check─▶ Event ─Fact─▶ Fact ─Add─▶ Pair ─▶ Holds, Figures
//
// [AddAll] adds many facts of many pairs at once. [Settled] returns the scores of a
// slice of events and keeps nothing.
//
// Facts are only added, and their order does not matter: any permutation and any
// duplication of the same facts gives the same holds and figures (S2.5).
//
// Units: times are nanoseconds since the Unix epoch (S7.1), weights are units of
// 1e-18, scores are units of 1e-33 weight-seconds (1e-18 of weight, 1e-9 of a
// second, 1e-6 of a multiplier), held times are nanoseconds.
package hold
