package auth

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func asIs(id string) string { return id }

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		texts  []string
		allows []string
		not    []string
	}{
		{[]string{"a"}, []string{"a"}, []string{"", "A", "aa", "a ", "a*"}},
		{[]string{"game-*"}, []string{"game-", "game-1", "game-a/b"}, []string{"game", "Game-1", "xgame-1"}},
		{[]string{"*-x-*"}, []string{"-x-", "a-x-b", "-x-x-"}, []string{"-x", "x-"}},
		{[]string{"a*a"}, []string{"aa", "aba"}, []string{"a", "ab"}},
		{[]string{`a\*`}, []string{"a*"}, []string{"ab", `a\*`, "a"}},
		{[]string{`\\`}, []string{`\`}, []string{`\\`}},
		{[]string{"*"}, []string{"", "anything"}, nil},
		{[]string{"a", "b*"}, []string{"a", "b", "bc"}, []string{"c"}},
		{[]string{}, nil, []string{"", "a", "*"}},
	} {
		n, err := ParseNames(c.texts)
		if err != nil {
			t.Errorf("%q: %v", c.texts, err)
			continue
		}
		for _, id := range c.allows {
			if !n.allow(id, asIs) {
				t.Errorf("%q does not allow %q", c.texts, id)
			}
		}
		for _, id := range c.not {
			if n.allow(id, asIs) {
				t.Errorf("%q allows %q", c.texts, id)
			}
		}
	}
	for _, bad := range []string{"", `a\`, "a\nb", "\xff", strings.Repeat("x", 600)} {
		if _, err := ParseNames([]string{"ok", bad}); !errors.Is(err, ErrNames) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParseNames(make([]string, MaxNames+1)); err == nil {
		t.Error("too many names are taken")
	}
	if all := (*Names)(nil); !all.allow("x", asIs) || all.Texts() != nil {
		t.Error("nil does not allow everything")
	}
}

// A pattern matches as the regular expression that it stands for.
func TestPatternsAgainstExpressions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*\\]{1,8}`).Draw(t, "pattern")
		id := rapid.StringMatching(`[ab*\\]{0,10}`).Draw(t, "id")
		n, err := ParseNames([]string{pattern})
		var want strings.Builder
		escaped := false
		for _, r := range pattern {
			switch {
			case escaped, r != '*' && r != '\\':
				want.WriteString(regexp.QuoteMeta(string(r)))
				escaped = false
			case r == '*':
				want.WriteString(".*")
			default:
				escaped = true
			}
		}
		if (err != nil) != escaped {
			t.Fatalf("%q: %v", pattern, err)
		}
		if err != nil {
			return
		}
		if got := n.allow(id, asIs); got != regexp.MustCompile("^(?:"+want.String()+")$").MatchString(id) {
			t.Fatalf("%q of %q: %v", pattern, id, got)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{"game-*", `a\*b`, "*", "**", `\`} {
		f.Add(seed, "game-1")
	}
	f.Fuzz(func(t *testing.T, text, id string) {
		n, err := ParseNames([]string{text})
		if err != nil {
			return
		}
		n.allow(id, asIs)
		if !strings.ContainsAny(text, `*\`) && !n.allow(text, asIs) {
			t.Errorf("%q does not allow itself", text)
		}
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	s, err := ParseScopes([]string{"admin", "write"})
	if err != nil || s.String() != "write,admin" || !s.Has(Admin) || s.Has(Read) || s.Has(Read|Write) {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := ParseScopes([]string{"Write"}); !errors.Is(err, ErrScope) {
		t.Errorf("Write: %v", err)
	}
	if s := KnownScopes([]string{"openid", "read", "x"}); s != Read {
		t.Errorf("known: %v", s)
	}
	if Scope(0).String() != "none" {
		t.Error(Scope(0))
	}
}
