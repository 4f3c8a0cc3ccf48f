package rules

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"holdmetrics/processor/hold"
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

// token reads an entry of the list of tokens.
func (p *parser) token(n *yaml.Node, r *Rules) {
	const (
		token, match                            = "token", "match"
		policy, multiplier, season, shortestRun = "policy", "multiplier", "season", "shortest_run"
		boosts, holdIDs                         = "boosts", "hold_ids"
	)
	values, ok := p.mapping(n, "a token's rule", token, match, policy, multiplier, season, shortestRun, boosts, holdIDs)
	if !ok {
		return
	}
	t := &tokenRule{rule: r.plain, line: n.Line}
	if n := values[policy]; n != nil {
		p.policy(n, &t.rule.Policy)
	}
	if n := values[multiplier]; n != nil {
		if v, ok := value(p, n, multiplier, parseMillionths); ok {
			t.rule.Multiplier = v
		}
	}
	if n := values[season]; n != nil {
		p.season(n, &t.rule)
	}
	if n := values[shortestRun]; n != nil {
		if v, ok := value(p, n, shortestRun, parseLength); ok {
			t.rule.Shortest = v
		}
	}
	if n := values[boosts]; n != nil {
		p.boosts(n, &t.rule)
	}
	if n := values[holdIDs]; n != nil {
		s, ok := p.choice(n, holdIDs, idsRequired, idsOptional)
		t.rule.NeedsID = ok && s == idsRequired
	}
	switch exact, pat := values[token], values[match]; {
	case (exact == nil) == (pat == nil):
		p.wrong(n, "a token's rule needs either token: ID or match: PATTERN")
	case exact != nil:
		p.exactToken(exact, r, t)
	default:
		p.tokenPattern(pat, r, t)
	}
}

func (p *parser) exactToken(n *yaml.Node, r *Rules, t *tokenRule) {
	id, ok := p.id(n, "token", "token_id")
	if !ok {
		return
	}
	p.looksWild(n, id)
	t.id = r.Token(id)
	if was := r.exact[t.id]; was != nil {
		p.wrong(n, "token %s has a rule already, in line %d; make them one", id, was.line)
		return
	}
	r.exact[t.id] = t
}

func (p *parser) tokenPattern(n *yaml.Node, r *Rules, t *tokenRule) {
	pat, ok := p.pattern(n, r.evmTokens)
	if !ok {
		return
	}
	t.pattern = pat
	for _, was := range r.patterns {
		if was.pattern.text == pat.text {
			p.wrong(n, "match %s has a rule already, in line %d; make them one", pat.text, was.line)
			return
		}
	}
	for _, was := range r.patterns {
		if was.pattern.covers(&pat) {
			p.warn(n.Line, "match %s never counts, since %s in line %d comes first and matches all that it does; put it above", pat.text, was.pattern.text, was.line)
			break
		}
	}
	if !pat.wild() {
		p.warn(n.Line, "match %s is one id; say token: %s", pat.text, pat.text)
	}
	r.patterns = append(r.patterns, t)
}

func (p *parser) season(n *yaml.Node, rule *hold.Rule) {
	const from, to = "from", "to"
	values, ok := p.mapping(n, "season", from, to)
	if !ok {
		return
	}
	whole := true
	for key, at := range map[string]*int64{from: &rule.SeasonFrom, to: &rule.SeasonTo} {
		if n := values[key]; n != nil {
			var ok bool
			*at, ok = value(p, n, "season."+key, parseInstant)
			whole = whole && ok
		}
	}
	switch {
	case len(values) == 0:
		p.wrong(n, "season has neither from nor to")
	case whole && rule.SeasonTo != 0 && rule.SeasonTo <= rule.SeasonFrom:
		p.wrong(n, "season ends at %s, which is not after its beginning at %s", formatInstant(rule.SeasonTo), formatInstant(rule.SeasonFrom))
	}
}

func (p *parser) boosts(n *yaml.Node, rule *hold.Rule) {
	const by, steps = "by", "steps"
	values, ok := p.mapping(n, "boosts", by, steps)
	if !ok {
		return
	}
	if n := values[by]; n != nil {
		if s, ok := p.choice(n, "boosts.by", byRun, byHold); ok && s == byHold {
			rule.BoostBy = hold.ByHold
		}
	}
	list := values[steps]
	if list == nil {
		p.wrong(n, "boosts has no steps; write steps: [{after: 30d, factor: 1.5}]")
		return
	}
	items := p.items(list, "boosts.steps")
	switch {
	case len(items) == 0 && (isNull(list) || list.Kind == yaml.SequenceNode):
		p.wrong(list, "boosts.steps is empty; leave boosts out")
	case len(items) > maxSteps:
		p.wrong(list, "boosts.steps has %d steps; there may be %d", len(items), maxSteps)
		return
	}
	was, factor := int64(-1), uint64(hold.MultiplierOne)
	for _, item := range items {
		b, ok := p.step(item, was, rule.Multiplier)
		if !ok {
			continue
		}
		was = b.After
		if b.Factor != factor { // else it says what counts anyway
			rule.Boosts = append(rule.Boosts, b)
		}
		factor = b.Factor
	}
	if len(rule.Boosts) == 0 {
		rule.BoostBy = hold.ByRun // of nothing
	}
}

func (p *parser) step(n *yaml.Node, was int64, multiplier uint64) (hold.Boost, bool) {
	const after, factor = "after", "factor"
	values, ok := p.mapping(n, "a step", after, factor)
	if !ok {
		return hold.Boost{}, false
	}
	if values[after] == nil || values[factor] == nil {
		p.wrong(n, "a step needs after and factor, like {after: 30d, factor: 1.5}")
		return hold.Boost{}, false
	}
	at, ok1 := value(p, values[after], after, parseLength)
	f, ok2 := value(p, values[factor], factor, parseMillionths)
	switch {
	case !ok1 || !ok2:
		return hold.Boost{}, false
	case at <= was:
		p.wrong(n, "the step after %s follows the one after %s; steps go from the shortest to the longest", formatLength(at), formatLength(was))
		return hold.Boost{}, false
	}
	b := hold.Boost{After: at, Factor: f}
	if !b.Exact(multiplier) {
		p.wrong(n, "multiplier %s times factor %s has more than 6 digits after the point, and a score could not be exact", formatMillionths(multiplier), formatMillionths(f))
		return hold.Boost{}, false
	}
	return b, true
}
