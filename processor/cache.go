package processor

import (
	"strings"
	"unsafe"

	"holdmetrics/processor/hold"
	"holdmetrics/projection"
)

// token is the one copy of a token's name that a partition keeps.
type token struct {
	name string
	refs int // pairs in memory and breaks that name it
}

// holder is the one copy of a holder's name, and its figures.
type holder struct {
	name      string
	sum       sum     // of all its pairs, also those that are not in memory
	sumAt     int64   // the instant at which every line in sum holds
	breaks    *breaks // nil: no line of its pairs is known to break
	updatedAt int64   // log time of the last event applied
	position  uint64  // of that event
	pairs     int     // in memory
	flush     uint64  // number of the last flush that carries it

	fresh       bool // while loading: the store has neither it nor any pair of it
	touched     bool // has events since the last settle
	dirty       bool // has events since the last flush was encoded
	unpublished bool // has events since it was last handed to the publisher
}

// pair is a pair in memory.
type pair struct {
	holder  *holder
	token   *token
	state   *hold.Pair              // nil until it is loaded
	figures hold.Figures            // what is in holder.sum of it
	facts   []projection.LoggedFact // new since the last flush was encoded
	at      int64                   // log time of its own last event
	bytes   int                     // as last counted
	flush   uint64                  // number of the last flush that carries it
	slot    int                     // its place in cache.ring

	used    bool // since the clock's hand came by
	touched bool // has events since the last settle
	dirty   bool // has events since the last flush was encoded
	stale   bool // while loading: its figures are not in holder.sum yet
}

func (pr *pair) key() projection.PairKey {
	return projection.PairKey{Holder: pr.holder.name, Token: pr.token.name}
}

type pairKey struct {
	holder *holder
	token  *token
}

// Estimates of what an entry takes beside its own name, maps included.
const (
	pairOverhead   = int(unsafe.Sizeof(pair{})) + 2*int(unsafe.Sizeof(pairKey{})) + 24
	holderOverhead = int(unsafe.Sizeof(holder{})) + 64
	tokenOverhead  = int(unsafe.Sizeof(token{})) + 64
)

// cache is what a partition has in memory. The unit is the pair; a holder stays
// as long as one of its pairs does, or as long as it is to be written, and a
// token as long as something names it. Pairs leave by the clock algorithm: the
// hand spares what was used since it last came by. It belongs to the partition's
// goroutine.
type cache struct {
	holders map[string]*holder
	tokens  map[string]*token
	pairs   map[pairKey]*pair
	ring    []*pair // in no order; the clock's hand goes round it
	hand    int
	bytes   int
	stuck   bool // it is over its bound until something is flushed
	evicted bool // a pair left, so the store may know more than the cache
}

func newCache() *cache {
	return &cache{holders: map[string]*holder{}, tokens: map[string]*token{}, pairs: map[pairKey]*pair{}}
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
	c.tokens[t.name] = t
	c.bytes += tokenOverhead + len(name)
	return t
}

func (c *cache) addPair(h *holder, t *token) *pair {
	pr := &pair{holder: h, token: t, slot: len(c.ring), bytes: pairOverhead, used: true}
	c.pairs[pairKey{h, t}] = pr
	c.ring = append(c.ring, pr)
	c.bytes += pr.bytes
	h.pairs++
	t.refs++
	return pr
}

// count takes a new estimate of what the pair takes.
func (c *cache) count(pr *pair) {
	n := pairOverhead + pr.state.Bytes()
	c.bytes += n - pr.bytes
	pr.bytes = n
}

// setBreak notes where the line of a pair may break; until 0 says nowhere.
func (c *cache) setBreak(h *holder, t *token, until int64) {
	if until == 0 {
		if h.breaks != nil {
			if _, ok := h.breaks.until[t]; ok {
				delete(h.breaks.until, t)
				c.release(t)
			}
			if len(h.breaks.until) == 0 {
				h.breaks = nil
			}
		}
		return
	}
	if h.breaks == nil {
		h.breaks = &breaks{until: map[*token]int64{}}
	}
	if _, ok := h.breaks.until[t]; !ok {
		t.refs++
	}
	h.breaks.set(t, until)
}

// release gives up one reference to a token.
func (c *cache) release(t *token) {
	if t.refs--; t.refs == 0 {
		delete(c.tokens, t.name)
		c.bytes -= tokenOverhead + len(t.name)
	}
}

// trim removes pairs until the cache is at most limit bytes, or until all that
// is left is needed. flushed is the number of the last flush that was written.
func (c *cache) trim(limit int, flushed uint64) {
	// Two rounds: the first may only take the marks of use away.
	for spared, most := 0, 2*len(c.ring); c.bytes > limit && spared < most && len(c.ring) > 0; {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		pr := c.ring[c.hand]
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

func (c *cache) remove(pr *pair, flushed uint64) {
	last := c.ring[len(c.ring)-1]
	c.ring[pr.slot], last.slot = last, pr.slot
	c.ring[len(c.ring)-1] = nil
	c.ring = c.ring[:len(c.ring)-1]
	delete(c.pairs, pairKey{pr.holder, pr.token})
	c.bytes -= pr.bytes
	c.release(pr.token)
	pr.holder.pairs--
	c.removeHolder(pr.holder, flushed)
}

// removeHolder removes a holder that nothing needs any more.
func (c *cache) removeHolder(h *holder, flushed uint64) {
	if h.pairs > 0 || h.touched || h.dirty || h.unpublished || h.flush > flushed {
		return
	}
	if h.breaks != nil {
		for t := range h.breaks.until {
			c.release(t)
		}
	}
	delete(c.holders, h.name)
	c.bytes -= holderOverhead + len(h.name)
}
