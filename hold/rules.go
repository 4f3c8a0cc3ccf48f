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

// BoostBy says whose length a boost looks at.
type BoostBy uint8

// What a boost is by.
const (
	ByRun  BoostBy = iota // how long the pair has been held without a gap
	ByHold                // how long the hold alone has lasted
)

// Boost is a step: from After on, an instant counts Factor times.
type Boost struct {
	After  int64  // nanoseconds since the run, or the hold, began
	Factor uint64 // in 1e-6 units
}

// Exact reports whether the factor times a multiplier is a number of 1e-6 units, so
// that no score loses a digit.
func (b Boost) Exact(multiplier uint64) bool {
	_, rest := timesMillionths(multiplier, b.Factor)
	return rest == 0
}

// timesMillionths is m x f in 1e-6 units, and what is left below them. Both are at
// most MaxMultiplier, so it is below 10^18.
func timesMillionths(m, f uint64) (product, rest uint64) {
	hi, lo := bits.Mul64(m, f)
	return bits.Div64(hi, lo, MultiplierOne)
}

// ErrRule says that a [Rule] cannot be counted by.
var ErrRule = errors.New("hold: not a rule")

// Check says why nothing can be counted by a rule, wrapping [ErrRule]: its figures
// would mean nothing, or not be exact.
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

// Rule says how one token counts. It is immutable, and safe for concurrent use.
//
// A run is a maximal time without a gap in which the pair is held. A hold of no
// length covers nothing; where one ends as the next begins there is no gap. Live
// as of T, the runs are those of all holds, cut at T; settled as of T, those of the
// holds that ended by T, as if there were no others.
//
// An instant x counts where
//
//   - it lies in the season, [SeasonFrom, SeasonTo), and
//   - its run is no shorter than Shortest. That is its whole length among the holds
//     that are looked at, also what lies outside the season. So a live score jumps
//     when a run gets there, and in that very instant it counts.
//
// What it counts, for the score, is the policy's weight times the Multiplier times a
// boost: the Factor of the last step with After <= age, 1 before the first. By run
// the age is x less the start of its run. By hold each hold's weight is boosted by
// its own age, x less its start, and the policy then takes the largest of these,
// or their sum. Runs and holds start when they do, whatever the season. Time held
// is neither multiplied nor boosted.
//
// A window is the score of its end less that of its beginning, so it has all of a
// run that became long enough in it.
//
// Nothing is rounded: a score has units of 1e-33, which is 1e-18 of a weight x 1e-9
// of a second x 1e-6 of Multiplier x Factor, and [Rule.Check] refuses factors that
// would need more. Nothing wraps: a hold's weight x time takes 245.4 bits, a
// Multiplier and a Factor, below 10^6 each, 59.8 together, which leaves 384 bits
// room for the sum of 2^78 holds.
type Rule struct {
	Policy     Policy
	Multiplier uint64 // in 1e-6 units; 0 counts nothing
	SeasonFrom int64  // ns; 0: from the beginning
	SeasonTo   int64  // ns; 0: for ever
	Shortest   int64  // ns; runs that are shorter do not count
	BoostBy    BoostBy
	Boosts     []Boost // by ascending After
	NeedsID    bool    // events of this token must carry a hold_id
}

// Accepts says why an event of the token is refused, as a [*FieldError]; nil: it
// is not. holdID is the event's, empty where it has none.
func (r *Rule) Accepts(holdID string) error {
	if r.NeedsID && holdID == "" {
		return &FieldError{Field: "hold_id", Err: ErrHoldIDNeeded}
	}
	return nil
}

// PlainRule counts by a policy and nothing else.
func PlainRule(policy Policy) *Rule {
	return &Rule{Policy: policy, Multiplier: MultiplierOne}
}

// Rules are the rules of one generation. They are immutable, and safe for
// concurrent use.
type Rules interface {
	// Version names the rules; equal rules have equal versions.
	Version() string
	// Of is the rule of a token, as Token gives it; never nil. Calls with the same token give the same pointer.
	Of(token string) *Rule
	// Excluded reports whether a holder, as Holder gives it, is not counted at all.
	Excluded(holder string) bool
	// Holder and Token are ids as the rules normalise them; id itself where they do
	// not. A holder's differs from id in the case of letters alone, and only where id
	// is made of [A-Za-z0-9_-], since the log is partitioned by what was sent; see
	// ingest.CaseKeepsPartition.
	Holder(id string) string
	Token(id string) string
	// NormalisesHolders reports whether Holder may give anything but id.
	NormalisesHolders() bool
	// DefaultPolicy is that of tokens without a rule of their own.
	DefaultPolicy() Policy
}

// NoRulesVersion is the version of [PlainRules].
const NoRulesVersion = "none"

// PlainRules count every token by one policy, and nothing else.
func PlainRules(policy Policy) Rules { return &plainRules{*PlainRule(policy)} }

type plainRules struct{ rule Rule }

func (r *plainRules) Version() string         { return NoRulesVersion }
func (r *plainRules) Of(string) *Rule         { return &r.rule }
func (r *plainRules) Excluded(string) bool    { return false }
func (r *plainRules) Holder(id string) string { return id }
func (r *plainRules) Token(id string) string  { return id }
func (r *plainRules) NormalisesHolders() bool { return false }
func (r *plainRules) DefaultPolicy() Policy   { return r.rule.Policy }
