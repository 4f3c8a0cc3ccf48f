package processor

import (
	"strings"
	"unsafe"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// token is the one copy of a token's name that a partition keeps, with the rule
// by which its pairs count.
type token struct {
	name string
	rule *hold.Rule
	refs int // pairs in memory and breaks that name it
}

// holder is the one copy of a holder's name, and what its pairs come to.
//
// Most holders have one pair in memory, so one lies in the holder itself, and its
// figures are kept nowhere: they are those that the pair gives at the instant of the
// sum. What all others come to is in rest, whether they are in memory or not.
type holder struct {
	name      string
	rest      *sum    // of all pairs but first; nil: nothing
	breaks    *breaks // nil: no line of its pairs is known to break
	updatedAt int64   // log time of the last event applied
	position  uint64  // of that event
	first     pair    // its token is nil: none
	pairs     int32   // in memory
	flush     uint32  // number of the last flush that carries it
	score     float64 // live, as last published; for the metrics alone

	queued  uint32 // number of its place in the publish queue; 0: it has no events since it was handed to the publisher
	changes uint8  // events in the queue, up to a bound; and unshownMark

	fresh   bool // while loading: the store has neither it nor any pair of it
	touched bool // has events since the last settle
	dirty   bool // has events since the last flush was encoded
}

// pair is a pair in memory.
type pair struct {
	holder *holder
	token  *token
	state  *hold.Pair // nil until it is loaded
	at     int64      // log time of its own last event
	bytes  int        // as last counted
	flush  uint32     // number of the last flush that carries it
	slot   int32      // its place in cache.ring

	large   bool // the state reads its pages from the store
	used    bool // since the clock's hand came by
	touched bool // has events since the last settle: it is in no sum
	dirty   bool // has events since the last flush was encoded
	stale   bool // while loading: its figures are not in the holder's sum yet
}

func (pr *pair) key() projection.PairKey {
	return projection.PairKey{Holder: pr.holder.name, Token: pr.token.name}
}

// figures are those of the pair by its token's rule, at an instant.
func (pr *pair) figures(at int64) hold.Figures { return pr.token.rule.Figures(pr.state, at) }

// isFirst reports whether the pair lies in its holder.
func (pr *pair) isFirst() bool { return pr == &pr.holder.first }

// join adds the pair's figures to its holder's sum. They are those at an instant
// at which every line of the sum holds, or is about to.
func (pr *pair) join(f *hold.Figures) {
	if !pr.isFirst() {
		pr.holder.addRest(f)
	}
}

// part takes the pair's figures, which are those at the instant of the sum, out of
// its holder's sum, before a fact changes them.
func (pr *pair) part() {
	if pr.isFirst() || pr.holder.rest == nil || pr.state.Empty() {
		return
	}
	f := pr.figures(pr.holder.rest.holdsAt)
	pr.holder.rest.sub(&f)
}

// takeFirst takes the figures of the first pair, which was just loaded, out of the rest.
// A rest that is nothing stays if a line of another pair breaks: what that pair will
// take out of it is what the pair has at the instant of this sum.
func (h *holder) takeFirst(f *hold.Figures) {
	if h.rest == nil {
		return // it has none yet
	}
	if h.rest.sub(f); *h.rest == (sum{holdsAt: h.rest.holdsAt}) && h.breaks.none(h.first.token) {
		h.rest = nil
	}
}

// sumAt is the instant at which every line in the sum holds: that of the last settle if
// there is a rest. Without one it may as well be the last event, since no other pair has
// anything, at either instant.
func (h *holder) sumAt() int64 {
	if h.rest != nil {
		return h.rest.holdsAt
	}
	return h.updatedAt
}

// addRest adds figures to the rest.
func (h *holder) addRest(f *hold.Figures) {
	if h.rest == nil {
		h.rest = &sum{holdsAt: h.updatedAt}
	}
	h.rest.add(f)
}

// figures are the sum of all the holder's pairs, with a line that begins at its
// last event. No pair of it may be touched.
func (h *holder) figures() hold.Figures {
	until := h.breaks.next()
	if h.rest == nil && h.first.state != nil {
		f := h.first.figures(h.updatedAt)
		f.Line.Until = until
		return f
	}
	var all sum
	if h.rest != nil {
		all = *h.rest
	}
	if h.first.state != nil {
		f := h.first.figures(h.updatedAt)
		all.add(&f)
	}
	return all.at(h.updatedAt, until)
}

// unshownMark marks a holder in the queue whose snapshot as it is now was not shown to
// readers in this process.
const unshownMark = 1 << 7

func (h *holder) isUnshown() bool { return h.changes&unshownMark != 0 }

func (h *holder) setUnshown(unshown bool) {
	if h.changes &^= unshownMark; unshown {
		h.changes |= unshownMark
	}
}

type pairKey struct {
	holder *holder
	token  *token
}

// Estimates of what an entry takes beside its own name, maps included.
const (
	firstOverhead  = 12 // the ring; the rest of it is its holder's
	pairOverhead   = firstOverhead + int(unsafe.Sizeof(pair{})) + 2*int(unsafe.Sizeof(pairKey{})) + 24 + int(unsafe.Sizeof(sum{}))
	holderOverhead = int(unsafe.Sizeof(holder{})) + 64
	tokenOverhead  = int(unsafe.Sizeof(token{})) + 64
	// A holder's breaks: two maps' worth of a small map and a heap, and an entry of each.
	breaksOverhead = int(unsafe.Sizeof(breaks{})) + 192
	breakOverhead  = 2*int(unsafe.Sizeof(lineBreak{})) + 24
)

// cache is what a partition has in memory. The unit is the pair; a holder stays
// as long as one of its pairs does, or as long as it is to be written, and a
// token as long as something names it. Pairs leave by the clock algorithm: the
// hand spares what was used since it last came by. Of a large pair parts leave
// first. It belongs to the partition's goroutine.
type cache struct {
	rules   hold.Rules
	holders map[string]*holder
	tokens  map[string]*token
	pairs   map[pairKey]*pair // but for those that lie in their holders
	ring    []*pair           // in no order; the clock's hand goes round it
	hand    int
	bytes   int
	pages   func(projection.PairKey) hold.Pages // where a large pair reads its pages; nil: nowhere
	stuck   bool                                // it is over its bound until something is flushed
	evicted bool                                // a pair left, so the store may know more than the cache
}

func newCache(rules hold.Rules) *cache {
	return &cache{rules: rules, holders: map[string]*holder{}, tokens: map[string]*token{}, pairs: map[pairKey]*pair{}}
}

// addHolder makes a holder. The name is copied: the caller's may lie in a message.
func (c *cache) addHolder(name string) *holder {
	h := &holder{name: strings.Clone(name)}
	c.holders[h.name] = h
	c.bytes += holderOverhead + len(name)
	return h
}

// tokenOf finds or makes a token, copying the name like addHolder.
func (c *cache) tokenOf(name string) *token {
	if t := c.tokens[name]; t != nil {
		return t
	}
	t := &token{name: strings.Clone(name)}
	t.rule = c.rules.Of(t.name)
	c.tokens[t.name] = t
	c.bytes += tokenOverhead + len(name)
	return t
}

// pair finds a pair, nil where it is not in memory.
func (c *cache) pair(h *holder, t *token) *pair {
	if h.first.token == t {
		return &h.first
	}
	return c.pairs[pairKey{h, t}]
}

func (c *cache) addPair(h *holder, t *token) *pair {
	pr := &h.first
	if pr.token != nil {
		pr = &pair{}
		c.pairs[pairKey{h, t}] = pr
	}
	*pr = pair{holder: h, token: t, slot: int32(len(c.ring)), used: true}
	pr.bytes = pr.overhead()
	c.ring = append(c.ring, pr)
	c.bytes += pr.bytes
	h.pairs++
	t.refs++
	return pr
}

func (pr *pair) overhead() int {
	if pr.isFirst() {
		return firstOverhead
	}
	return pairOverhead
}

// count takes a new estimate of what the pair takes.
func (c *cache) count(pr *pair) {
	if !pr.large && c.pages != nil && pr.state.Large() {
		pr.large = true
		pr.state.ReadFrom(c.pages(pr.key()))
	}
	n := pr.overhead() + pr.state.Bytes()
	c.bytes += n - pr.bytes
	pr.bytes = n
}

// setBreak notes where the line of a pair may break; until 0 says nowhere.
func (c *cache) setBreak(h *holder, t *token, until int64) {
	if until == 0 {
		if h.breaks != nil {
			if _, ok := h.breaks.until[t]; ok {
				delete(h.breaks.until, t)
				c.bytes -= breakOverhead
				c.release(t)
			}
			c.dropBreaks(h)
		}
		return
	}
	if h.breaks == nil {
		h.breaks = &breaks{until: map[*token]int64{}}
		c.bytes += breaksOverhead
	}
	if _, ok := h.breaks.until[t]; !ok {
		t.refs++
		c.bytes += breakOverhead
	}
	h.breaks.set(t, until)
}

// broken takes out the tokens whose lines have broken by the holder's last event.
// Their references go to the caller.
func (c *cache) broken(h *holder) []*token {
	if h.breaks == nil {
		return nil
	}
	tokens := h.breaks.expired(h.updatedAt)
	c.bytes -= len(tokens) * breakOverhead
	return tokens
}

// dropBreaks lets go of a holder's breaks once there are none.
func (c *cache) dropBreaks(h *holder) {
	if h.breaks != nil && len(h.breaks.until) == 0 {
		h.breaks = nil
		c.bytes -= breaksOverhead
	}
}

// release gives up one reference to a token.
func (c *cache) release(t *token) {
	t.refs--
	c.forget(t)
}

// forget lets go of a token that nothing refers to.
func (c *cache) forget(t *token) {
	if t.refs == 0 {
		delete(c.tokens, t.name)
		c.bytes -= tokenOverhead + len(t.name)
	}
}

// trim removes pairs until the cache is at most limit bytes, or until all that
// is left is needed. flushed is the number of the last flush that was written.
func (c *cache) trim(limit int, flushed uint32) {
	// Two rounds: the first may only take the marks of use away.
	for spared, most := 0, 2*len(c.ring); c.bytes > limit && spared < most && len(c.ring) > 0; {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		pr := c.ring[c.hand]
		if c.shrink(pr, c.bytes-limit, flushed); c.bytes <= limit {
			return
		}
		if pr.used || pr.touched || pr.dirty || pr.flush > flushed {
			pr.used = false
			c.hand++
			spared++
			continue
		}
		c.evicted = true
		c.remove(pr, flushed)
	}
}

// shrink takes parts of a large pair out of memory, up to free bytes. What is not
// stored yet stays.
func (c *cache) shrink(pr *pair, free int, flushed uint32) {
	if pr.large {
		pr.state.Trim(free, pr.flush <= flushed)
		c.count(pr)
	}
}

func (c *cache) remove(pr *pair, flushed uint32) {
	last := c.ring[len(c.ring)-1]
	c.ring[pr.slot], last.slot = last, pr.slot
	c.ring[len(c.ring)-1] = nil
	c.ring = c.ring[:len(c.ring)-1]
	c.bytes -= pr.bytes
	h := pr.holder
	defer c.release(pr.token)
	h.pairs--
	if !pr.isFirst() {
		delete(c.pairs, pairKey{h, pr.token})
	} else {
		gone := *pr
		*pr = pair{}
		if h.needed(flushed) && gone.state != nil && !gone.state.Empty() {
			f := gone.figures(h.sumAt())
			h.addRest(&f)
		}
	}
	c.removeHolder(h, flushed)
}

// needed reports whether the holder has to stay in memory.
func (h *holder) needed(flushed uint32) bool {
	return h.pairs > 0 || h.touched || h.dirty || h.queued != 0 || h.flush > flushed
}

// removeHolder removes a holder that nothing needs any more.
func (c *cache) removeHolder(h *holder, flushed uint32) {
	if h.needed(flushed) {
		return
	}
	if h.breaks != nil {
		for t := range h.breaks.until {
			c.release(t)
		}
		c.bytes -= breaksOverhead + len(h.breaks.until)*breakOverhead
	}
	delete(c.holders, h.name)
	c.bytes -= holderOverhead + len(h.name)
}
