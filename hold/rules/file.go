package rules

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"holdmetrics/hold"
)

// Values of keys that have words.
const (
	byRun       = "run"
	byHold      = "hold"
	idsRequired = "required"
	idsOptional = "optional"
)

// maxSteps bounds what a boost costs.
const maxSteps = 100

// file reads all of a file.
func (p *parser) file(text []byte) *Rules {
	r := &Rules{
		plain:    *hold.PlainRule(hold.Merge),
		exact:    map[string]*tokenRule{},
		excluded: map[string]bool{},
	}
	root := p.document(text)
	if root == nil || isNull(root) {
		return r
	}
	values, ok := p.mapping(root, "a rules file", "policy", "ids", "exclude", "tokens")
	if !ok {
		return r
	}
	if n := values["policy"]; n != nil {
		p.policy(n, &r.plain.Policy)
	}
	if n := values["ids"]; n != nil {
		p.ids(n, r)
	}
	if n := values["exclude"]; n != nil {
		lines := map[string]int{}
		for _, item := range p.items(n, "exclude") {
			p.exclude(item, r, lines)
		}
		slices.SortFunc(r.excludedPatterns, func(a, b pattern) int { return cmp.Compare(a.text, b.text) })
	}
	if n := values["tokens"]; n != nil {
		for _, item := range p.items(n, "tokens") {
			p.token(item, r)
		}
	}
	return r
}

func (p *parser) policy(n *yaml.Node, policy *hold.Policy) {
	if s, ok := p.choice(n, "policy", hold.Merge.String(), hold.Sum.String()); ok {
		*policy, _ = hold.ParsePolicy(s)
	}
}

func (p *parser) ids(n *yaml.Node, r *Rules) {
	const holders, tokens = "holders", "tokens"
	r.saysIDs = true
	if n.Kind != yaml.MappingNode {
		s, ok := p.choice(n, "ids", idsNone, idsEVM)
		r.evmHolders, r.evmTokens = ok && s == idsEVM, ok && s == idsEVM
		return
	}
	values, _ := p.mapping(n, "ids", holders, tokens)
	for key, evm := range map[string]*bool{holders: &r.evmHolders, tokens: &r.evmTokens} {
		if n := values[key]; n != nil {
			s, ok := p.choice(n, "ids."+key, idsNone, idsEVM)
			*evm = ok && s == idsEVM
		}
	}
}

func (p *parser) exclude(n *yaml.Node, r *Rules, lines map[string]int) {
	twice := func(key, what string) bool {
		line, known := lines[key]
		if known {
			p.warn(n.Line, "%s is excluded by line %d already", what, line)
		}
		lines[key] = n.Line
		return known
	}
	if n.Kind != yaml.MappingNode {
		id, ok := p.id(n, "exclude", "holder_id")
		if !ok {
			return
		}
		p.looksWild(n, id)
		id = r.Holder(id)
		if !twice("id "+id, id) {
			r.excluded[id] = true
		}
		return
	}
	values, ok := p.mapping(n, "an exclusion", "match")
	if !ok {
		return
	}
	if values["match"] == nil {
		p.wrong(n, "an exclusion is an id, or {match: PATTERN}")
		return
	}
	pat, ok := p.pattern(values["match"], r.evmHolders)
	if !ok || twice("match "+pat.text, pat.text) {
		return
	}
	if pat.match("") {
		p.warn(n.Line, "%s excludes every holder", pat.text)
	}
	r.excludedPatterns = append(r.excludedPatterns, pat)
}

// id reads one that may stand in an event.
func (p *parser) id(n *yaml.Node, what, field string) (string, bool) {
	s, ok := p.scalar(n, what)
	if !ok {
		return "", false
	}
	if err := hold.CheckID(field, s); err != nil {
		p.wrong(n, "%s: no id that an event may have: %v", what, err)
		return "", false
	}
	return s, true
}

// looksWild warns where an id is written like a pattern.
func (p *parser) looksWild(n *yaml.Node, id string) {
	if strings.ContainsAny(id, "*?") {
		p.warn(n.Line, "%s is one id, to the letter; a pattern is written match: %s", id, id)
	}
}

func (p *parser) pattern(n *yaml.Node, evm bool) (pattern, bool) {
	const what = "match"
	s, ok := p.id(n, what, "pattern")
	if !ok {
		return pattern{}, false
	}
	pat, ok := compilePattern(s)
	if !ok {
		p.wrong(n, "match: %s ends in a backslash, which takes the next character as it stands; a backslash itself is \\\\", s)
		return pattern{}, false
	}
	if evm && strings.HasPrefix(s, "0x") && strings.ContainsAny(s, "ABCDEF") {
		p.warn(n.Line, "addresses are in lower case when %s is matched; write %s", s, "0x"+strings.ToLower(s[2:]))
	}
	return pat, true
}
