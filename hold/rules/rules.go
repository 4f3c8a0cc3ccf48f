package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"holdmetrics/hold"
)

// Rules are those of a file. They are immutable, and safe for concurrent use.
type Rules struct {
	plain    hold.Rule // of tokens without a rule of their own
	exact    map[string]*tokenRule
	patterns []*tokenRule // the first that matches counts

	excluded         map[string]bool
	excludedPatterns []pattern // by text

	evmHolders, evmTokens bool
	saysIDs               bool // the file has the key ids

	text     string
	version  string
	warnings []Problem
}

var _ hold.Rules = (*Rules)(nil)

// tokenRule is an entry of the file's list of tokens.
type tokenRule struct {
	rule    hold.Rule
	id      string  // normalised; empty: the pattern counts
	pattern pattern // of a rule for several
	line    int
}

// versionDigits is how much of the hash names the rules.
const versionDigits = 12

// seal works out what follows from the rest, once all of it is there.
func (r *Rules) seal() {
	r.text = r.canonical()
	sum := sha256.Sum256([]byte("holdmetrics rules 1\n" + r.text))
	r.version = hex.EncodeToString(sum[:])[:versionDigits]
	if r.saysIDs && !r.evmHolders && !r.evmTokens {
		// It counts as rules without the key do, so the version is the same. But imports
		// follow it, so the text that is stored keeps it.
		policy, rest, _ := strings.Cut(r.text, "\n")
		r.text = policy + "\nids: " + idsNone + "\n" + rest
	}
}

// Version is a hash of what the rules mean; see the package.
func (r *Rules) Version() string { return r.version }

// Text is the one canonical text of these rules: a rules file that [Parse] reads
// into equal ones. It says "ids: none" if the file does.
func (r *Rules) Text() string { return r.text }

// Warnings are what the file says in vain, or what may not be meant, by line.
func (r *Rules) Warnings() []Problem { return r.warnings }

// Of is the rule of a token, as Token gives it.
func (r *Rules) Of(token string) *hold.Rule {
	if t := r.exact[token]; t != nil {
		return &t.rule
	}
	if t := r.patternOf(token); t != nil {
		return &t.rule
	}
	return &r.plain
}

func (r *Rules) patternOf(token string) *tokenRule {
	for _, t := range r.patterns {
		if t.pattern.match(token) {
			return t
		}
	}
	return nil
}

// Excluded reports whether a holder, as Holder gives it, is not counted at all.
func (r *Rules) Excluded(holder string) bool {
	if r.excluded[holder] {
		return true
	}
	for i := range r.excludedPatterns {
		if r.excludedPatterns[i].match(holder) {
			return true
		}
	}
	return false
}

// Holder is a holder's id as the rules normalise it.
func (r *Rules) Holder(id string) string {
	if r.evmHolders {
		return evm(id)
	}
	return id
}

// Token is a token's id as the rules normalise it.
func (r *Rules) Token(id string) string {
	if r.evmTokens {
		return evm(id)
	}
	return id
}

// NormalisesHolders reports whether Holder may give anything but id.
func (r *Rules) NormalisesHolders() bool { return r.evmHolders }

// DefaultPolicy is that of tokens without a rule of their own.
func (r *Rules) DefaultPolicy() hold.Policy { return r.plain.Policy }

// evmLen is that of 0x and 40 hex digits.
const evmLen = 42

// evm is an address in lower case, and anything else as it stands.
func evm(id string) string {
	if len(id) != evmLen || id[:2] != "0x" {
		return id
	}
	upper := false
	for i := 2; i < evmLen; i++ {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			upper = true
		default:
			return id
		}
	}
	if !upper {
		return id
	}
	lower := []byte(id)
	for i := 2; i < evmLen; i++ {
		if lower[i] >= 'A' && lower[i] <= 'F' {
			lower[i] += 'a' - 'A'
		}
	}
	return string(lower)
}
