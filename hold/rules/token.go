package rules

import (
	"go.yaml.in/yaml/v3"

	"holdmetrics/hold"
)

// token reads an entry of the list of tokens.
func (p *parser) token(n *yaml.Node, r *Rules) {
	const token, match = "token", "match"
	values, ok := p.mapping(n, "a token's rule", token, match, KeyPolicy, KeyMultiplier, KeySeason, KeyShortestRun, KeyBoosts, KeyHoldIDs)
	if !ok {
		return
	}
	t := &tokenRule{rule: r.plain, line: n.Line}
	if n := values[KeyPolicy]; n != nil {
		p.policy(n, &t.rule.Policy)
	}
	if n := values[KeyMultiplier]; n != nil {
		if v, ok := value(p, n, KeyMultiplier, parseMillionths); ok {
			t.rule.Multiplier = v
		}
	}
	if n := values[KeySeason]; n != nil {
		p.season(n, &t.rule)
	}
	if n := values[KeyShortestRun]; n != nil {
		if v, ok := value(p, n, KeyShortestRun, parseLength); ok {
			t.rule.Shortest = v
		}
	}
	if n := values[KeyBoosts]; n != nil {
		p.boosts(n, &t.rule)
	}
	if n := values[KeyHoldIDs]; n != nil {
		s, ok := p.choice(n, KeyHoldIDs, idsRequired, idsOptional)
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
