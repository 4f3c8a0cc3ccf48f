package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"holdmetrics/hold/rules"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	old := parse(t, full)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "# other words\n" + full, nil},
		{"all", "policy: sum", []string{
			"ids: evm -> none",
			"excluded holders: - " + deadLower,
			"excluded holders: - match pool-*",
			"token GOLD: by the rule of GOLD -> (other tokens)",
			"token GOLD: multiplier 2.5 -> 1",
			"token GOLD: season {from: 2026-01-01T00:00:00Z, to: 2026-07-01T00:00:00Z} -> none",
			"token GOLD: shortest_run 7d -> none",
			"token GOLD: boosts {by: hold, steps: [{after: 30d, factor: 1.5}, {after: 90d, factor: 2}]} -> none",
			"token GOLD: hold_ids required -> optional",
			"tokens that match LP-*: by the rule of match LP-* -> (other tokens)",
			"tokens that match LP-*: policy merge -> sum",
			"tokens that match LP-*: multiplier 0.5 -> 1",
			"tokens that match *: by the rule of match * -> (other tokens)",
			"tokens that match *: policy merge -> sum",
			"tokens that match *: season {to: 2026-07-01T00:00:00Z} -> none",
			`tokens that match several patterns: the first of ["LP-*" "*"] counts -> the first of []`,
			"tokens without a rule of their own: policy merge -> sum",
		}},
		{"one setting", strings.Replace(full, "2.5", "5", 1), []string{"token GOLD: multiplier 2.5 -> 5"}},
		{"a token of its own", strings.Replace(full, "tokens:\n", "tokens:\n  - {token: LP-1, multiplier: 3}\n", 1), []string{
			"token LP-1: by the rule of match LP-* -> LP-1",
			"token LP-1: multiplier 0.5 -> 3",
		}},
		{"a holder more", strings.Replace(full, "exclude:\n", "exclude:\n  - alice\n", 1), []string{"excluded holders: + alice"}},
		{"one order of patterns", full + "  - match: \"?*\"\n", []string{
			`tokens that match several patterns: the first of ["LP-*" "*"] counts -> the first of ["LP-*" "*" "?*"]`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, change := range rules.Diff(old, parse(t, c.text)) {
				for _, how := range change.How {
					got = append(got, change.What+": "+how)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDiffMissesNothing: a token that another rule counts for is reported, by its id or
// by a pattern that it matches.
func TestDiffMissesNothing(t *testing.T) {
	t.Parallel()
	file := func(t *rapid.T, name string) *rules.Rules {
		var b strings.Builder
		fmt.Fprintf(&b, "policy: %s\ntokens:\n", rapid.SampledFrom([]string{"merge", "sum"}).Draw(t, name))
		seen := map[string]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			key := rapid.SampledFrom([]string{"token: A", "token: AB", "match: A*", "match: '*B'", "match: '*'", "match: '?B'"}).Draw(t, "which")
			if !seen[key] {
				fmt.Fprintf(&b, "  - {%s, multiplier: %d}\n", key, rapid.IntRange(1, 2).Draw(t, "multiplier"))
			}
			seen[key] = true
		}
		r, err := rules.Parse("r", []byte(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	rapid.Check(t, func(t *rapid.T) {
		old, new := file(t, "old"), file(t, "new")
		reported := map[string]bool{}
		for _, c := range rules.Diff(old, new) {
			reported[c.What] = true
		}
		for _, token := range []string{"A", "AB", "B", "ABB", "C", "CB", "AC"} {
			if cmp.Equal(old.Of(token), new.Of(token)) {
				continue
			}
			by := reported["token "+token] || reported["tokens that match several patterns"] || reported["tokens without a rule of their own"]
			for _, p := range []string{"A*", "*B", "*", "?B"} {
				by = by || reported["tokens that match "+p] && matches(p, token)
			}
			if !by {
				t.Fatalf("%s: %+v -> %+v is not reported among %v:\n%s\n%s", token, old.Of(token), new.Of(token), reported, old.Text(), new.Text())
			}
		}
	})
}

func TestSentences(t *testing.T) {
	t.Parallel()
	r := parse(t, full)
	for token, want := range map[string][]string{
		"GOLD": {
			"Overlapping holds add up.",
			"Only the time from 2026-01-01T00:00:00Z to 2026-07-01T00:00:00Z counts.",
			"A run without a gap counts nothing while it is shorter than 7d; at 7d all of it counts.",
			"The weight of a hold counts by how long that hold alone has lasted: 1.5 times from 30d on, 2 times from 90d on.",
			"The score is multiplied by 2.5; the time held is not.",
			"Events must carry a hold_id.",
			"For example 1 GOLD held from 2026-01-01T00:00:00Z for 180d scores 64800000 weight-seconds, and 15552000 by the policy alone.",
		},
		"other": {
			"Of overlapping holds the largest weight counts.",
			"Only the time before 2026-07-01T00:00:00Z counts.",
			"For example 1 other held from 2026-06-01T00:00:00Z for 30d scores 2592000 weight-seconds, and 2592000 by the policy alone.",
		},
	} {
		if diff := cmp.Diff(want, rules.Sentences(token, r.Of(token))); diff != "" {
			t.Error(diff)
		}
	}
	boosted := parse(t, "tokens: [{token: a, season: {from: 2199-12-31}, boosts: {steps: [{after: 200d, factor: 0}]}}]").Of("a")
	want := "The score of a time counts by how long it has been held without a gap then, a top-up or not: 0 times from 200d on."
	if got := rules.Sentences("a", boosted); got[2] != want || !strings.HasSuffix(got[3], "for 1d scores 86400 weight-seconds, and 86400 by the policy alone.") {
		t.Errorf("%q", got)
	}
}
