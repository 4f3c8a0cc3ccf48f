package rules

import (
	"maps"
	"regexp"
	"slices"

	"holdmetrics/hold"
)

// Entry is a rule, and which tokens it counts for.
type Entry struct {
	Token string // the id, normalised; empty: not that of one token
	Match string // the pattern; with an empty Token too: all that have no other rule
	Line  int    // of the file; 0: not said there
	Rule  *hold.Rule
}

// Name is the entry as a table has it.
func (e *Entry) Name() string {
	switch {
	case e.Token != "":
		return e.Token
	case e.Match != "":
		return "match " + e.Match
	}
	return "(other tokens)"
}

func (t *tokenRule) entry() Entry {
	return Entry{Token: t.id, Match: t.pattern.text, Line: t.line, Rule: &t.rule}
}

// Entries are all rules: those of one token by id, then those of patterns in the
// order in which they are tried, then that of the other tokens.
func (r *Rules) Entries() []Entry {
	var out []Entry
	for _, id := range slices.Sorted(maps.Keys(r.exact)) {
		out = append(out, r.exact[id].entry())
	}
	for _, t := range r.patterns {
		out = append(out, t.entry())
	}
	return append(out, Entry{Rule: &r.plain})
}

// Entry is the one that counts for a token, as Token gives it: its Rule is what Of
// gives.
func (r *Rules) Entry(token string) Entry {
	if t := r.exact[token]; t != nil {
		return t.entry()
	}
	if t := r.patternOf(token); t != nil {
		return t.entry()
	}
	return Entry{Rule: &r.plain}
}

// NameOf names the rule of a token, as Token gives it; empty where it has none of its own.
func (r *Rules) NameOf(token string) string {
	if e := r.Entry(token); e.Token != "" || e.Match != "" {
		return e.Name()
	}
	return ""
}

// Exclusions are the holders, normalised, and the patterns of holders that are not
// counted, each in order.
func (r *Rules) Exclusions() (ids, patterns []string) {
	for i := range r.excludedPatterns {
		patterns = append(patterns, r.excludedPatterns[i].text)
	}
	return slices.Sorted(maps.Keys(r.excluded)), patterns
}

// IDs says how ids are normalised, as the file's key of that name has it.
func (r *Rules) IDs() string { return r.ids() }

// Normalisation returns how ids of holders and of tokens are normalised, each "none" or
// "evm". It returns empty texts if the rules leave that open: the file has no ids, and
// names no address in mixed case, which rules without ids compare as it stands.
func (r *Rules) Normalisation() (holders, tokens string) {
	if !r.saysIDs && !r.evmHolders && !r.evmTokens && !mixedCase.MatchString(r.text) {
		return "", ""
	}
	of := map[bool]string{false: idsNone, true: idsEVM}
	return of[r.evmHolders], of[r.evmTokens]
}

// mixedCase finds an address that is not in lower case.
var mixedCase = regexp.MustCompile(`0x[0-9a-fA-F]*[A-F]`)

// Setting is a key of a token's rule and its value, as a file has them.
type Setting struct{ Key, Value string }

// The keys of a token's rule.
const (
	KeyPolicy      = "policy"
	KeyMultiplier  = "multiplier"
	KeySeason      = "season"
	KeyShortestRun = "shortest_run"
	KeyBoosts      = "boosts"
	KeyHoldIDs     = "hold_ids"
)

// Settings are what a rule says: its policy, then the others that say something,
// always in one order.
func Settings(r *hold.Rule) []Setting {
	return append([]Setting{{KeyPolicy, r.Policy.String()}}, settingsOf(r)...)
}
