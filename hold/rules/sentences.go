package rules

import (
	"fmt"
	"strings"
	"time"

	"holdmetrics/hold"
)

// Sentences describes what a rule does to a token of that name, in words, and what one
// of it scores for example.
func Sentences(name string, r *hold.Rule) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.Policy == hold.Sum {
		say("Overlapping holds add up.")
	} else {
		say("Of overlapping holds the largest weight counts.")
	}
	switch from, to := formatInstant(r.SeasonFrom), formatInstant(r.SeasonTo); {
	case r.SeasonFrom != 0 && r.SeasonTo != 0:
		say("Only the time from %s to %s counts.", from, to)
	case r.SeasonFrom != 0:
		say("Only the time from %s on counts.", from)
	case r.SeasonTo != 0:
		say("Only the time before %s counts.", to)
	}
	if r.Shortest > 0 {
		say("A run without a gap counts nothing while it is shorter than %s; at %s all of it counts.", formatLength(r.Shortest), formatLength(r.Shortest))
	}
	if len(r.Boosts) > 0 {
		steps := make([]string, len(r.Boosts))
		for i, b := range r.Boosts {
			steps[i] = fmt.Sprintf("%s times from %s on", formatMillionths(b.Factor), formatLength(b.After))
		}
		what := "The score of a time counts by how long it has been held without a gap then, a top-up or not"
		if r.BoostBy == hold.ByHold {
			what = "The weight of a hold counts by how long that hold alone has lasted"
		}
		say("%s: %s.", what, strings.Join(steps, ", "))
	}
	if r.Multiplier != hold.MultiplierOne {
		say("The score is multiplied by %s; the time held is not.", formatMillionths(r.Multiplier))
	}
	if r.NeedsID {
		say("Events must carry a hold_id.")
	}
	return append(out, example(name, r))
}

// example is what a hold of weight 1 scores that is long enough to show the rule,
// counted as any hold is.
func example(name string, r *hold.Rule) string {
	length := 30 * 24 * int64(time.Hour)
	for _, b := range r.Boosts {
		length = max(length, 2*min(b.After, hold.MaxTime/4))
	}
	length = max(length, 2*min(r.Shortest, hold.MaxTime/4))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	if r.SeasonFrom != 0 {
		start = r.SeasonFrom
	} else if r.SeasonTo != 0 {
		start = max(1, r.SeasonTo-length)
	}
	end := min(start+length, hold.MaxTime)
	p := hold.NewPair(r.Policy)
	p.Add(hold.Fact{Kind: hold.KindHold, Start: start, End: end})
	return fmt.Sprintf("For example 1 %s held from %s for %s scores %s weight-seconds, and %s by the policy alone.",
		name, formatInstant(start), formatLength(end-start), r.LiveAt(p, end).Score, p.LiveAt(end).Score)
}
