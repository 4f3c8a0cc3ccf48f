package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdmetrics/hold"
)

// canonical is the text of [Rules.Text].
func (r *Rules) canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy: %s\n", r.plain.Policy)
	if ids := r.ids(); ids != idsNone {
		fmt.Fprintf(&b, "ids: %s\n", ids)
	}
	if len(r.excluded)+len(r.excludedPatterns) > 0 {
		b.WriteString("exclude:\n")
		for _, id := range slices.Sorted(maps.Keys(r.excluded)) {
			fmt.Fprintf(&b, "  - %s\n", strconv.Quote(id))
		}
		for i := range r.excludedPatterns {
			fmt.Fprintf(&b, "  - match: %s\n", strconv.Quote(r.excludedPatterns[i].text))
		}
	}
	if len(r.exact)+len(r.patterns) > 0 {
		b.WriteString("tokens:\n")
		for _, id := range slices.Sorted(maps.Keys(r.exact)) {
			fmt.Fprintf(&b, "  - token: %s\n", strconv.Quote(id))
			canonicalRule(&b, &r.exact[id].rule)
		}
		for _, t := range r.patterns {
			fmt.Fprintf(&b, "  - match: %s\n", strconv.Quote(t.pattern.text))
			canonicalRule(&b, &t.rule)
		}
	}
	return b.String()
}

// How ids are normalised, in a file.
const (
	idsNone = "none"
	idsEVM  = "evm"
)

// ids is the value of the key of that name.
func (r *Rules) ids() string {
	of := map[bool]string{false: idsNone, true: idsEVM}
	if r.evmHolders == r.evmTokens {
		return of[r.evmHolders]
	}
	return fmt.Sprintf("{holders: %s, tokens: %s}", of[r.evmHolders], of[r.evmTokens])
}

// canonicalRule writes the settings of a token's rule, those that say nothing left out.
func canonicalRule(b *strings.Builder, r *hold.Rule) {
	for _, s := range Settings(r) {
		fmt.Fprintf(b, "    %s: %s\n", s.Key, s.Value)
	}
}

// settingsOf are the settings of a rule, without its policy, that say something.
func settingsOf(r *hold.Rule) []Setting {
	var out []Setting
	if r.Multiplier != hold.MultiplierOne {
		out = append(out, Setting{KeyMultiplier, formatMillionths(r.Multiplier)})
	}
	if season := seasonOf(r); season != "" {
		out = append(out, Setting{KeySeason, season})
	}
	if r.Shortest > 0 {
		out = append(out, Setting{KeyShortestRun, formatLength(r.Shortest)})
	}
	if len(r.Boosts) > 0 {
		steps := make([]string, len(r.Boosts))
		for i, s := range r.Boosts {
			steps[i] = fmt.Sprintf("{after: %s, factor: %s}", formatLength(s.After), formatMillionths(s.Factor))
		}
		by := byRun
		if r.BoostBy == hold.ByHold {
			by = byHold
		}
		out = append(out, Setting{KeyBoosts, fmt.Sprintf("{by: %s, steps: [%s]}", by, strings.Join(steps, ", "))})
	}
	if r.NeedsID {
		out = append(out, Setting{KeyHoldIDs, idsRequired})
	}
	return out
}

func seasonOf(r *hold.Rule) string {
	var ends []string
	if r.SeasonFrom != 0 {
		ends = append(ends, "from: "+formatInstant(r.SeasonFrom))
	}
	if r.SeasonTo != 0 {
		ends = append(ends, "to: "+formatInstant(r.SeasonTo))
	}
	if len(ends) == 0 {
		return ""
	}
	return "{" + strings.Join(ends, ", ") + "}"
}
