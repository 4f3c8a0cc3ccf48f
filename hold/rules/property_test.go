package rules_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/hold/rules"
)

// matches is what a pattern means, by trying everything.
func matches(pattern, id string) bool {
	if pattern == "" {
		return id == ""
	}
	_, n := utf8.DecodeRuneInString(id)
	switch pattern[0] {
	case '*':
		return matches(pattern[1:], id) || id != "" && matches(pattern, id[n:])
	case '?':
		return id != "" && matches(pattern[1:], id[n:])
	case '\\':
		pattern = pattern[1:]
	}
	return strings.HasPrefix(id, pattern[:1]) && matches(pattern[1:], id[1:])
}

// TestPatterns: which of several patterns counts, and that one which is said to
// count never does not.
func TestPatterns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`([ab*?é]|\\[*?\\a]){1,6}`)
		first, second := pattern.Draw(t, "first"), pattern.Draw(t, "second")
		if first == second {
			return
		}
		r, err := rules.Parse("r", []byte("tokens:\n  - {match: '"+first+"', multiplier: 2}\n  - {match: '"+second+"', multiplier: 3}\n"))
		if err != nil {
			t.Fatal(err)
		}
		shadowed := false
		for _, w := range r.Warnings() {
			shadowed = shadowed || strings.Contains(w.Text, "never counts")
		}
		for range 20 {
			id := rapid.StringMatching(`[ab*?é\\]{1,6}`).Draw(t, "id")
			want := uint64(hold.MultiplierOne)
			switch {
			case matches(first, id):
				want *= 2
			case matches(second, id):
				want *= 3
			}
			if got := r.Of(id).Multiplier; got != want {
				t.Fatalf("%q of %q and %q: %d, want %d", id, first, second, got, want)
			}
			if shadowed && want == 3*hold.MultiplierOne {
				t.Fatalf("%q counts for %q, which %q is said to shadow", id, second, first)
			}
		}
	})
}

// TestEVM: "0x addresses in lower case", and nothing else.
func TestEVM(t *testing.T) {
	t.Parallel()
	r, err := rules.Parse("r", []byte("ids: evm"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.StringMatching(`0x[0-9a-fA-F]{40}`).Draw(t, "address")
		if got := r.Holder(address); got != strings.ToLower(address) || r.Token(address) != got {
			t.Fatalf("%s is %s", address, got)
		}
		other := rapid.OneOf(rapid.StringMatching(`0X[0-9A-F]{40}|0x[0-9A-F]{39}|0x[0-9A-F]{41}|0x[0-9A-F]{20}G[0-9A-F]{19}|[A-Z]{42}`), rapid.String()).Draw(t, "other")
		if got := r.Holder(other); got != other {
			t.Fatalf("%s is %s", other, got)
		}
	})
}

// FuzzParse: whatever a file says, it is read or refused, and what was read has a
// text that means the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(""))
	f.Add([]byte("tokens: [{match: \"\\u0085\\\\*\"}, {token: 0x10}]\nexclude: [~, true, 1.0, {match: '**'}]"))
	f.Add([]byte("a: &a [*a]\n<<: *a"))
	f.Add([]byte("tokens:\n - token: a\n   boosts: {steps: [{after: 0s, factor: 0}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := rules.Parse("r", text)
		if err != nil {
			var problems rules.Problems
			if r != nil || !errors.As(err, &problems) || len(problems) == 0 || !errors.Is(err, rules.ErrRules) {
				t.Fatalf("%v, %v", r, err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Text == "" || strings.Contains(p.String(), "\n") {
					t.Fatalf("%q", p)
				}
			}
			return
		}
		for _, token := range []string{"GOLD", "LP-1", "a", "0x10"} {
			if err := r.Of(token).Check(); err != nil {
				t.Fatalf("%s: %v", token, err)
			}
		}
		again, err := rules.Parse("r", []byte(r.Text()))
		if err != nil {
			t.Fatalf("its own text is refused: %v\n%s", err, r.Text())
		}
		if again.Text() != r.Text() || again.Version() != r.Version() {
			t.Fatalf("%s\nbecomes\n%s", r.Text(), again.Text())
		}
	})
}
