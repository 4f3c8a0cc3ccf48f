package rules_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/hold/rules"
)

const dead, deadLower = "0x000000000000000000000000000000000000dEaD", "0x000000000000000000000000000000000000dead"

// full uses every key.
const full = `# the pools' tokens count half
policy: merge
ids: evm
exclude:
  - 0x000000000000000000000000000000000000dEaD   # burnt
  - match: "pool-*"
tokens:
  - token: GOLD
    policy: sum
    multiplier: 2.5
    season: {from: 2026-01-01, to: 2026-07-01T02:00:00+02:00}
    shortest_run: 1w
    boosts:
      by: hold
      steps:
        - {after: 30d, factor: 1.5}
        - {after: 90d, factor: 2}
    hold_ids: required
  - match: "LP-*"
    multiplier: 0.5
  - match: "*"
    season: {to: 2026-07-01}
`

func parse(t *testing.T, text string) *rules.Rules {
	t.Helper()
	r, err := rules.Parse("rules.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ns(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixNano()
}

const day = 24 * int64(time.Hour)

func TestEverything(t *testing.T) {
	t.Parallel()
	r := parse(t, full)
	end := ns(t, "2026-07-01T00:00:00Z")
	for token, want := range map[string]*hold.Rule{
		"GOLD": {
			Policy: hold.Sum, Multiplier: 2_500_000, SeasonFrom: ns(t, "2026-01-01T00:00:00Z"), SeasonTo: end,
			Shortest: 7 * day, BoostBy: hold.ByHold, Boosts: []hold.Boost{{After: 30 * day, Factor: 1_500_000}, {After: 90 * day, Factor: 2_000_000}},
			NeedsID: true,
		},
		"LP-1": {Multiplier: 500_000},
		"gold": {Multiplier: hold.MultiplierOne, SeasonTo: end},
	} {
		if diff := cmp.Diff(want, r.Of(token)); diff != "" {
			t.Errorf("%s: %s", token, diff)
		}
		if first, again := r.Of(token), r.Of(token); first != again {
			t.Errorf("%s has two rules", token)
		}
	}
	if r.DefaultPolicy() != hold.Merge || !r.NormalisesHolders() || len(r.Warnings()) != 0 {
		t.Errorf("%v, %v, %v", r.DefaultPolicy(), r.NormalisesHolders(), r.Warnings())
	}
	for id, want := range map[string]bool{
		dead: true, deadLower: true, "pool-7": true, "pool-": true, "Pool-7": false, "alice": false, "": false,
	} {
		if got := r.Excluded(r.Holder(id)); got != want {
			t.Errorf("%q excluded: %v", id, got)
		}
	}
	if r.Token(dead) != deadLower {
		t.Errorf("token %s", r.Token(dead))
	}
}

// Without a word a file means what those have who have none.
func TestNothingSaid(t *testing.T) {
	t.Parallel()
	for text, policy := range map[string]hold.Policy{
		"": hold.Merge, "# nothing\n": hold.Merge, "---\n": hold.Merge, "policy: merge": hold.Merge, "policy: sum": hold.Sum,
		"policy: sum\nexclude:\ntokens: []\nids: none\n": hold.Sum, "policy: sum\ntokens: [{token: T}]": hold.Sum,
	} {
		r := parse(t, text)
		if diff := cmp.Diff(hold.PlainRule(policy), r.Of("T")); diff != "" || r.DefaultPolicy() != policy {
			t.Errorf("%q: %s", text, diff)
		}
		if r.Excluded("h") || r.Holder(dead) != dead || r.Token(dead) != dead || r.NormalisesHolders() {
			t.Errorf("%q does more", text)
		}
		if r.Version() == hold.NoRulesVersion {
			t.Errorf("%q has the version of no file", text)
		}
	}
}

// An exact id beats a pattern wherever it stands; of patterns the first counts.
func TestWhichRule(t *testing.T) {
	t.Parallel()
	r := parse(t, `tokens:
  - {match: "A*", multiplier: 1.1}
  - {match: "*B", multiplier: 1.2}
  - {token: AB, multiplier: 1.3}
  - {match: "A?C", multiplier: 1.4}
  - {match: "x\\*", multiplier: 1.5}
`)
	for token, want := range map[string]uint64{
		"AB": 1_300_000, "ABB": 1_100_000, "BB": 1_200_000, "A1C": 1_100_000, "C": 1_000_000, "x*": 1_500_000, "xy": 1_000_000,
	} {
		if got := r.Of(token).Multiplier; got != want {
			t.Errorf("%s: %d, want %d", token, got, want)
		}
	}
	want := []string{
		"rules.yaml:5: match A?C never counts, since A* in line 2 comes first and matches all that it does; put it above",
		`rules.yaml:6: match x\* is one id; say token: x\*`,
	}
	if diff := cmp.Diff(want, warnings(r)); diff != "" {
		t.Error(diff)
	}
}

func warnings(r *rules.Rules) []string {
	var out []string
	for _, w := range r.Warnings() {
		out = append(out, w.String())
	}
	return out
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	r := parse(t, `ids: {holders: evm}
exclude:
  - alice
  - "pool-*"
  - alice
  - `+dead+`
  - `+deadLower+`
  - match: "0xDEAD*"
  - match: "*"
  - match: "*"
tokens:
  - token: "LP-?"
`)
	want := []string{
		"rules.yaml:4: pool-* is one id, to the letter; a pattern is written match: pool-*",
		"rules.yaml:5: alice is excluded by line 3 already",
		"rules.yaml:7: " + deadLower + " is excluded by line 6 already",
		"rules.yaml:8: addresses are in lower case when 0xDEAD* is matched; write 0xdead*",
		"rules.yaml:9: * excludes every holder",
		"rules.yaml:10: * is excluded by line 9 already",
		"rules.yaml:12: LP-? is one id, to the letter; a pattern is written match: LP-?",
	}
	if diff := cmp.Diff(want, warnings(r)); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"polcy: sum", "1: a rules file has no key \"polcy\"; there is policy, ids, exclude and tokens"},
		{"- policy", "1: a rules file is a list, and must be a mapping of policy, ids, exclude and tokens"},
		{"sum", "1: a rules file is \"sum\", and must be a mapping of policy, ids, exclude and tokens"},
		{"policy: max", "1: policy is \"max\", and must be one of merge, sum"},
		{"policy: [sum]", "1: policy is a list, and must be a single value"},
		{"policy:", "1: policy is nothing, and must be a single value"},
		{"policy: !!binary c3Vt", "1: policy has the tag !!binary; write the value alone"},
		{"policy: sum\n\npolicy: merge", "3: policy is there twice; line 1 says it too"},
		{"policy: sum\n---\npolicy: sum", "2: a second document begins; a rules file is one"},
		{"policy: &a sum", "1: anchors and aliases are not read here; write it out"},
		{"? [a]\n: b", "1: a rules file has no key a list; there is policy, ids, exclude and tokens"},
		{"policy: sum\nids: {}\n\ttokens: []", "3: not YAML: a tab indents this line; YAML wants spaces"},
		{"tokens:\n\t- token: A\n", "2: not YAML: a tab indents this line; YAML wants spaces"},
		{"tokens:\r\n  - token: A\r\n\tpolicy: sum\r\n", "3: not YAML: a tab indents this line; YAML wants spaces"},
		{"policy: @x\n\t# a tab that does no harm\n", "1: not YAML: found character that cannot start any token"},
		{"policy: sum\n# \xff", "2: not UTF-8"},
		{"ids: eth", "1: ids is \"eth\", and must be one of none, evm"},
		{"ids: {holder: evm}", "1: ids has no key \"holder\"; there is holders and tokens"},
		{"ids: {holders: 1}", "1: ids.holders is \"1\", and must be one of none, evm"},
		{"exclude: alice", "1: exclude is \"alice\", and must be a list"},
		{"exclude:\n  - {id: a}", "2: an exclusion has no key \"id\"; there is match\n2: an exclusion is an id, or {match: PATTERN}"},
		{"exclude:\n  - \"a\\tb\"", "2: exclude: no id that an event may have: holder_id has a control character: '\\t' at byte 1"},
		{"exclude:\n  - \"\"", "2: exclude: no id that an event may have: holder_id is required"},
		{"exclude:\n  - match: \"a\\\\\"", "2: match: a\\ ends in a backslash, which takes the next character as it stands; a backslash itself is \\\\"},
		{"tokens: {}", "1: tokens is a mapping, and must be a list"},
		{"tokens:\n  - GOLD", "2: a token's rule is \"GOLD\", and must be a mapping of token, match, policy, multiplier, season, shortest_run, boosts and hold_ids"},
		{"tokens:\n  - policy: sum", "2: a token's rule needs either token: ID or match: PATTERN"},
		{"tokens:\n  - {token: a, match: b}", "2: a token's rule needs either token: ID or match: PATTERN"},
		{"tokens:\n  - token: " + strings.Repeat("a", 257), "2: token: no id that an event may have: token_id is longer than 256 bytes: 257 bytes"},
		{"tokens:\n  - token: a\n  - token: b\n  - token: a", "4: token a has a rule already, in line 2; make them one"},
		{"ids: evm\ntokens:\n  - token: " + dead + "\n  - token: " + deadLower, "4: token " + deadLower + " has a rule already, in line 3; make them one"},
		{"tokens:\n  - match: a*\n  - match: a*", "3: match a* has a rule already, in line 2; make them one"},
		{"tokens: [{token: a, hold_ids: yes}]", "1: hold_ids is \"yes\", and must be one of required, optional"},
		{"tokens: [{token: a, multiplier: -1}]", "1: multiplier: -1 is below 0"},
		{"tokens: [{token: a, multiplier: 1e3}]", "1: multiplier: \"1e3\" is not a plain decimal; write it like 2 or 0.25"},
		{"tokens: [{token: a, multiplier: .5}]", "1: multiplier: \".5\" is not a plain decimal; write it like 2 or 0.25"},
		{"tokens: [{token: a, multiplier: 1.}]", "1: multiplier: \"1.\" is not a plain decimal; write it like 2 or 0.25"},
		{"tokens: [{token: a, multiplier: .nan}]", "1: multiplier: \".nan\" is not a plain decimal; write it like 2 or 0.25"},
		{"tokens: [{token: a, multiplier: 1000000}]", "1: multiplier: 1000000 is 1000000 or more"},
		{"tokens: [{token: a, multiplier: 0.0000001}]", "1: multiplier: 0.0000001 has more than 6 digits after the point"},
		{"tokens: [{token: a, season: 2026}]", "1: season is \"2026\", and must be a mapping of from and to"},
		{"tokens: [{token: a, season: {}}]", "1: season has neither from nor to"},
		{"tokens: [{token: a, season: {from: today}}]", "1: season.from: \"today\" is not a time; write it like 2026-01-31T12:00:00Z, or 2026-01-31 for its midnight in UTC"},
		{"tokens: [{token: a, season: {from: 1970-01-01}}]", "1: season.from: 1970-01-01 is not between 1970 and 2200"},
		{"tokens: [{token: a, season: {to: 2200-01-02}}]", "1: season.to: 2200-01-02 is not between 1970 and 2200"},
		{"tokens: [{token: a, season: {to: 2026-01-01, from: 2026-01-01}}]", "1: season ends at 2026-01-01T00:00:00Z, which is not after its beginning at 2026-01-01T00:00:00Z"},
		{"tokens: [{token: a, shortest_run: 7}]", "1: shortest_run: \"7\" is not a length of time; write it like 7d, 36h or 1d12h (w, d, h, m, s, ms, us, ns)"},
		{"tokens: [{token: a, shortest_run: 12h1d}]", "1: shortest_run: \"12h1d\" is not a length of time; write it like 7d, 36h or 1d12h (w, d, h, m, s, ms, us, ns)"},
		{"tokens: [{token: a, shortest_run: 1.5d}]", "1: shortest_run: \"1.5d\" is not a length of time; write it like 7d, 36h or 1d12h (w, d, h, m, s, ms, us, ns)"},
		{"tokens: [{token: a, shortest_run: 90000d}]", "1: shortest_run: 90000d is longer than any hold can last"},
		{"tokens: [{token: a, shortest_run: 99999999999999999999w}]", "1: shortest_run: 99999999999999999999w is longer than any hold can last"},
		{"tokens: [{token: a, boosts: {by: token}}]", "1: boosts has no steps; write steps: [{after: 30d, factor: 1.5}]\n1: boosts.by is \"token\", and must be one of run, hold"},
		{"tokens: [{token: a, boosts: {steps: []}}]", "1: boosts.steps is empty; leave boosts out"},
		{"tokens: [{token: a, boosts: {steps: [{after: 1d}]}}]", "1: a step needs after and factor, like {after: 30d, factor: 1.5}"},
		{"tokens:\n - token: a\n   boosts:\n    steps:\n     - {after: 2d, factor: 2}\n     - {after: 48h, factor: 3}", "6: the step after 2d follows the one after 2d; steps go from the shortest to the longest"},
		{"tokens: [{token: a, multiplier: 0.001, boosts: {steps: [{after: 1d, factor: 1.0005}]}}]", "1: multiplier 0.001 times factor 1.0005 has more than 6 digits after the point, and a score could not be exact"},
		{"policy: max\ntokens:\n  - token: a\n    multiplier: -1\n    season: {to: x}\n  - {}", "1: policy is \"max\", and must be one of merge, sum\n4: multiplier: -1 is below 0\n5: season.to: \"x\" is not a time; write it like 2026-01-31T12:00:00Z, or 2026-01-31 for its midnight in UTC\n6: a token's rule needs either token: ID or match: PATTERN"},
	} {
		r, err := rules.Parse("rules.yaml", []byte(c.text))
		if r != nil || !errors.Is(err, rules.ErrRules) || !errors.As(err, new(rules.Problems)) {
			t.Errorf("%s\ngives %v, %v", c.text, r, err)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), "rules.yaml:", ""); !sameLines(got, c.want) {
			t.Errorf("%s\ngives %s\nwant  %s", c.text, got, c.want)
		}
	}
}

// sameLines compares what stands on one line of a file in any order.
func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	return cmp.Diff(count(x), count(y)) == ""
}

func count(lines []string) map[string]int {
	out := map[string]int{}
	for _, l := range lines {
		out[l]++
	}
	return out
}

func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"0": 0, "1": 1_000_000, "2.5": 2_500_000, "0.000001": 1, "999999.999999": hold.MaxMultiplier, "007.10": 7_100_000, "\"3\"": 3_000_000} {
		r := parse(t, "tokens: [{token: a, multiplier: "+text+"}]")
		if got := r.Of("a").Multiplier; got != want {
			t.Errorf("%s is %d", text, got)
		}
	}
	for text, want := range map[string]int64{"0s": 0, "1w": 7 * day, "1d12h": 36 * int64(time.Hour), "1h30m": 90 * int64(time.Minute), "1ns": 1, "1s5ms7us9ns": 1_005_007_009, "5m": 300e9} {
		r := parse(t, "tokens: [{token: a, shortest_run: "+text+"}]")
		if got := r.Of("a").Shortest; got != want {
			t.Errorf("%s is %d", text, got)
		}
	}
}

// What a file means, and nothing else, makes its version.
// TestIDsNoneIsKept: it does not change the version, and the text that is stored keeps it.
func TestIDsNoneIsKept(t *testing.T) {
	t.Parallel()
	open, err := rules.Parse("rules.yaml", []byte("policy: merge\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"policy: merge\n": "", "policy: merge\nids: none\n": "none", "policy: merge\nids: {holders: none}\n": "none",
	} {
		r, err := rules.Parse("rules.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		again, err := rules.Parse("rules.yaml", []byte(r.Text()))
		if err != nil {
			t.Fatal(err)
		}
		holders, tokens := again.Normalisation()
		if holders != want || tokens != want || r.Version() != open.Version() || again.Version() != open.Version() || again.Text() != r.Text() {
			t.Errorf("%q: %q, %q, %s, %q", text, holders, tokens, r.Version(), again.Text())
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	same := []string{full, `tokens:
  - match: LP-*
    multiplier: 0.500
  - match: '*'
    season:
      to: "2026-07-01T00:00:00.000Z"
    hold_ids: optional
    multiplier: 1
    shortest_run: 0s
  - hold_ids: required
    boosts: {steps: [{factor: 1, after: 1d}, {after: 720h, factor: 1.5}, {after: 31d, factor: 1.50}, {after: 90d, factor: 2.0}], by: hold}
    shortest_run: 7d
    season: {to: 2026-07-01, from: 2026-01-01T00:00:00Z}
    multiplier: 2.50
    policy: sum
    token: "GOLD"
exclude: [{match: pool-*}, ` + deadLower + `, ` + dead + `]
ids: {tokens: evm, holders: evm}
`}
	first := parse(t, same[0])
	for _, text := range same[1:] {
		r := parse(t, text)
		if r.Version() != first.Version() || r.Text() != first.Text() {
			t.Errorf("%s\nmeans\n%s\nand not\n%s", text, r.Text(), first.Text())
		}
	}
	if len(first.Version()) != 12 {
		t.Errorf("version %s", first.Version())
	}
	const text = `policy: merge
ids: evm
exclude:
  - "0x000000000000000000000000000000000000dead"
  - match: "pool-*"
tokens:
  - token: "GOLD"
    policy: sum
    multiplier: 2.5
    season: {from: 2026-01-01T00:00:00Z, to: 2026-07-01T00:00:00Z}
    shortest_run: 7d
    boosts: {by: hold, steps: [{after: 30d, factor: 1.5}, {after: 90d, factor: 2}]}
    hold_ids: required
  - match: "LP-*"
    policy: merge
    multiplier: 0.5
  - match: "*"
    policy: merge
    season: {to: 2026-07-01T00:00:00Z}
`
	if diff := cmp.Diff(text, first.Text()); diff != "" {
		t.Error(diff)
	}
	versions := map[string]string{first.Version(): full}
	for _, change := range [][2]string{
		{"merge", "sum"}, {"evm", "none"}, {"ids: evm", "ids: {holders: evm}"}, {"dEaD", "dEaF"}, {"pool-*", "pool?*"}, {"GOLD", "gold"},
		{"policy: sum", "policy: merge"}, {"2.5", "2.6"}, {"2026-01-01", "2026-01-02"}, {"02:00:00+", "02:00:00.000000001+"},
		{"1w", "8d"}, {"by: hold", "by: run"}, {"30d", "29d"}, {"1.5", "1.6"}, {"required", "optional"}, {"LP-*", "LP*"},
		{"  - match: \"LP-*\"\n    multiplier: 0.5\n", ""},
	} {
		text := strings.Replace(full, change[0], change[1], 1)
		r := parse(t, text)
		if was, ok := versions[r.Version()]; ok {
			t.Errorf("the same version %s:\n%s\nand\n%s", r.Version(), was, text)
		}
		versions[r.Version()] = text
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	p := rules.Problem{Name: "a.yaml", Line: 3, Text: "what"}
	if got := fmt.Sprint(p); got != "a.yaml:3: what" {
		t.Error(got)
	}
}
