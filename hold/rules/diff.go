package rules

import (
	"fmt"
	"maps"
	"slices"

	"holdmetrics/hold"
)

// Change is something that counts in another way.
type Change struct {
	What string   // of which tokens, holders or ids
	How  []string // what is so now, and what was
}

// Diff says what counts in another way by the new rules. Nothing, where the
// versions are equal.
func Diff(old, new *Rules) []Change {
	if old.version == new.version {
		return nil
	}
	var out []Change
	add := func(what string, how ...string) {
		if len(how) > 0 {
			out = append(out, Change{what, how})
		}
	}
	if a, b := old.ids(), new.ids(); a != b {
		add("ids", a+" -> "+b)
	}
	add("excluded holders", diffExclusions(old, new)...)
	both := maps.Clone(old.exact)
	maps.Copy(both, new.exact)
	for _, id := range slices.Sorted(maps.Keys(both)) {
		a, b := old.Entry(id), new.Entry(id)
		add("token "+id, diffEntries(&a, &b)...)
	}
	out = append(out, diffPatterns(old, new)...)
	add("tokens without a rule of their own", diffRules(&old.plain, &new.plain)...)
	return out
}

// DiffTokens is Diff of these tokens alone.
func DiffTokens(old, new *Rules, tokens []string) []Change {
	var out []Change
	for _, token := range tokens {
		a, b := old.Entry(old.Token(token)), new.Entry(new.Token(token))
		var how []string
		if x, y := old.Token(token), new.Token(token); x != y {
			how = append(how, fmt.Sprintf("its id %s -> %s", x, y))
		}
		if how = append(how, diffEntries(&a, &b)...); len(how) > 0 {
			out = append(out, Change{"token " + token, how})
		}
	}
	return out
}

func diffExclusions(old, new *Rules) []string {
	was, wasPatterns := old.Exclusions()
	are, arePatterns := new.Exclusions()
	var out []string
	side := func(sign, prefix string, list, without []string) {
		known := make(map[string]bool, len(without))
		for _, id := range without {
			known[id] = true
		}
		for _, id := range list {
			if !known[id] {
				out = append(out, sign+" "+prefix+id)
			}
		}
	}
	side("-", "", was, are)
	side("+", "", are, was)
	side("-", "match ", wasPatterns, arePatterns)
	side("+", "match ", arePatterns, wasPatterns)
	return out
}

// diffEntries is what changes for a token, and whose rule it was where that is
// another one now.
func diffEntries(a, b *Entry) []string {
	how := diffRules(a.Rule, b.Rule)
	if x, y := a.Name(), b.Name(); len(how) > 0 && x != y {
		how = append([]string{fmt.Sprintf("by the rule of %s -> %s", x, y)}, how...)
	}
	return how
}

// none stands for a setting that a rule does not have.
const none = "none"

func diffRules(a, b *hold.Rule) []string {
	values := func(r *hold.Rule) map[string]string {
		out := map[string]string{KeyMultiplier: "1", KeySeason: none, KeyShortestRun: none, KeyBoosts: none, KeyHoldIDs: idsOptional}
		for _, s := range Settings(r) {
			out[s.Key] = s.Value
		}
		return out
	}
	was, is := values(a), values(b)
	var out []string
	for _, key := range []string{KeyPolicy, KeyMultiplier, KeySeason, KeyShortestRun, KeyBoosts, KeyHoldIDs} {
		if was[key] != is[key] {
			out = append(out, fmt.Sprintf("%s %s -> %s", key, was[key], is[key]))
		}
	}
	return out
}

// diffPatterns compares the rules of patterns: of one that both have the two; of
// one that only one has that with the rule that its tokens surely have beside it
// in the other.
func diffPatterns(old, new *Rules) []Change {
	var out []Change
	for _, t := range new.patterns {
		a, b := old.entryOfPattern(&t.pattern), new.entryOfPattern(&t.pattern)
		if how := diffEntries(&a, &b); len(how) > 0 {
			out = append(out, Change{"tokens that match " + t.pattern.text, how})
		}
	}
	for _, t := range old.patterns {
		if new.pattern(t.pattern.text) < 0 {
			a, b := old.entryOfPattern(&t.pattern), new.entryOfPattern(&t.pattern)
			if how := diffEntries(&a, &b); len(how) > 0 {
				out = append(out, Change{"tokens that match " + t.pattern.text, how})
			}
		}
	}
	// Which rule another pattern leaves its tokens to is theirs to say one by one.
	a, b := old.patternTexts(), new.patternTexts()
	all := slices.Concat(a, b)
	slices.Sort(all)
	if !slices.Equal(a, b) && len(slices.Compact(all)) > 1 {
		out = append(out, Change{"tokens that match several patterns", []string{
			fmt.Sprintf("the first of %q counts -> the first of %q", a, b),
		}})
	}
	return out
}

func (r *Rules) pattern(text string) int {
	return slices.IndexFunc(r.patterns, func(t *tokenRule) bool { return t.pattern.text == text })
}

func (r *Rules) patternTexts() []string {
	out := []string{}
	for _, t := range r.patterns {
		out = append(out, t.pattern.text)
	}
	return out
}

// entryOfPattern is the one for whatever matches a pattern and has no rule of its
// own: of the first that surely matches all of it.
func (r *Rules) entryOfPattern(p *pattern) Entry {
	for _, t := range r.patterns {
		if t.pattern.covers(p) {
			return t.entry()
		}
	}
	return Entry{Rule: &r.plain}
}
