package hold

import (
	"errors"
	"fmt"
	"math/bits"
)

// MultiplierOne is a multiplier of 1. Multipliers are integers of 1e-6 units.
const MultiplierOne = 1_000_000

// MaxMultiplier bounds multipliers and boost factors: each is below 10^6.
const MaxMultiplier = 1_000_000*MultiplierOne - 1

// BoostBy is whose age a boost measures.
type BoostBy uint8

// The ages that a boost can measure (S8.8).
const (
	ByRun  BoostBy = iota // the age of the run: how long the pair has been held without a gap
	ByHold                // the age of the hold alone
)

// Boost is a step: from After on, an instant counts Factor times.
type Boost struct {
	After  int64  // nanoseconds since the run, or the hold, began
	Factor uint64 // in 1e-6 units
}

// Exact reports whether the factor times a multiplier is a whole number of 1e-6 units.
// Only then are scores exact.
func (b Boost) Exact(multiplier uint64) bool {
	_, rest := timesMillionths(multiplier, b.Factor)
	return rest == 0
}

// timesMillionths returns m x f in 1e-6 units, and the remainder below them. Both are
// at most MaxMultiplier, so the product is below 10^18.
func timesMillionths(m, f uint64) (product, rest uint64) {
	hi, lo := bits.Mul64(m, f)
	return bits.Div64(hi, lo, MultiplierOne)
}

// ErrRule means that a [Rule] is not valid. [Rule.Check] wraps it.
var ErrRule = errors.New("hold: not a rule")

// Check returns an error that wraps [ErrRule] if figures by the rule would have no
// meaning or would not be exact, or nil.
func (r *Rule) Check() error {
	switch {
	case r.Policy != Merge && r.Policy != Sum:
		return fmt.Errorf("%w: %v", ErrRule, r.Policy)
	case r.Multiplier > MaxMultiplier:
		return fmt.Errorf("%w: the multiplier is 10^6 or more", ErrRule)
	case r.SeasonFrom < 0 || r.SeasonTo < 0 || r.SeasonFrom > MaxTime || r.SeasonTo > MaxTime || r.SeasonTo != 0 && r.SeasonTo <= r.SeasonFrom:
		return fmt.Errorf("%w: the season is not within 1970 and 2200, or ends before it begins", ErrRule)
	case r.Shortest < 0 || r.Shortest > MaxTime:
		return fmt.Errorf("%w: the shortest run is longer than any", ErrRule)
	case r.BoostBy != ByRun && r.BoostBy != ByHold:
		return fmt.Errorf("%w: a boost by nothing known", ErrRule)
	}
	was := int64(-1)
	for _, b := range r.Boosts {
		switch {
		case b.After <= was || b.After > MaxTime:
			return fmt.Errorf("%w: the steps of a boost do not ascend", ErrRule)
		case b.Factor > MaxMultiplier:
			return fmt.Errorf("%w: the factor of a boost is 10^6 or more", ErrRule)
		case !b.Exact(r.Multiplier):
			return fmt.Errorf("%w: the multiplier times the factor of a boost has more than 6 digits after the point", ErrRule)
		}
		was = b.After
	}
	return nil
}

// Rule is how one token counts (docs/semantics.md, section 8). It is immutable and safe
// for concurrent use.
//
// A run is a maximal interval in which the pair is held without a gap (S8.6). A hold
// of length zero covers nothing. If one hold ends at the instant at which the next
// starts, there is no gap. Live as of T, runs consist of all holds, cut at T. Settled
// as of T, runs consist of the holds that ended by T, as if there were no others.
//
// An instant x counts if both hold (S8.7):
//
//   - It lies in the season, [SeasonFrom, SeasonTo).
//   - Its run is at least as long as Shortest. The whole run is measured, including
//     the part outside the season. So a live score jumps at the instant at which its
//     run becomes long enough, and that instant already counts.
//
// For the score, an instant counts the policy's weight times the Multiplier times the
// boost (S8.8). The boost is the Factor of the last step with After <= age, or 1 before
// the first step. By run, the age is x minus the start of the run. By hold, each hold's
// weight is boosted by its own age, x minus its start. The policy then takes the
// largest or the sum. The season does not move the start of a run or a hold. Held time
// is neither multiplied nor boosted.
//
// The score of a window is the score as of its end minus the score as of its beginning.
// So a run that becomes long enough within the window counts whole in it (S8.9).
//
// Nothing is rounded (S7.3). The unit of a score is 1e-33: 1e-18 of a weight, 1e-9 of a
// second, 1e-6 of Multiplier x Factor. [Rule.Check] refuses factors that need more
// digits. Nothing overflows: weight x time of a hold takes at most 245.4 bits, and a
// Multiplier and a Factor add at most 59.8 bits. So 383 bits hold the sum of 2^77 holds.
type Rule struct {
	Policy     Policy
	Multiplier uint64 // in 1e-6 units; 0 counts nothing
	SeasonFrom int64  // ns; 0: from the beginning
	SeasonTo   int64  // ns; 0: without end
	Shortest   int64  // ns; shorter runs do not count
	BoostBy    BoostBy
	Boosts     []Boost // by ascending After
	NeedsID    bool    // events of this token must carry a hold_id (S8.10)
}

// Accepts returns a [*FieldError] if the rule refuses an event of the token with this
// hold_id, or nil. An empty holdID means that the event has none.
func (r *Rule) Accepts(holdID string) error {
	if r.NeedsID && holdID == "" {
		return &FieldError{Field: "hold_id", Err: ErrHoldIDNeeded}
	}
	return nil
}

// PlainRule returns the rule that has a policy and nothing else.
func PlainRule(policy Policy) *Rule {
	return &Rule{Policy: policy, Multiplier: MultiplierOne}
}

// Rules are the rules of one generation. They are immutable, and safe for
// concurrent use.
type Rules interface {
	// Version returns the version of the rules. Equal rules have equal versions (S8.1).
	Version() string
	// Of returns the rule of a normalized token. It is never nil. Calls with the same
	// token return the same pointer.
	Of(token string) *Rule
	// Excluded reports whether a normalized holder is excluded (S8.4).
	Excluded(holder string) bool
	// Holder and Token return an id as the rules normalize it (S8.3). The result of
	// Holder differs from id only in the case of letters, and only if id consists of
	// [A-Za-z0-9_-]: the log is partitioned by the id that was sent. See
	// ingest.CaseKeepsPartition.
	Holder(id string) string
	Token(id string) string
	// NormalisesHolders reports whether Holder may return another id than its argument.
	NormalisesHolders() bool
	// DefaultPolicy returns the policy of tokens without a rule of their own.
	DefaultPolicy() Policy
}

// NoRulesVersion is the version of [PlainRules].
const NoRulesVersion = "none"

// PlainRules returns rules that have one policy for every token, and nothing else.
func PlainRules(policy Policy) Rules { return &plainRules{*PlainRule(policy)} }

type plainRules struct{ rule Rule }

func (r *plainRules) Version() string         { return NoRulesVersion }
func (r *plainRules) Of(string) *Rule         { return &r.rule }
func (r *plainRules) Excluded(string) bool    { return false }
func (r *plainRules) Holder(id string) string { return id }
func (r *plainRules) Token(id string) string  { return id }
func (r *plainRules) NormalisesHolders() bool { return false }
func (r *plainRules) DefaultPolicy() Policy   { return r.rule.Policy }
