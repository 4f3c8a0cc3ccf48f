package intake

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// An event with a hold_id may change nothing, because another one takes precedence: one
// of a greater revision, say. Its acknowledgement has a note then. The acknowledgement
// comes from the log, which does not know; so notes are made of two things.
//
//   - What this server has seen of the hold_ids that it accepted last. It is added when
//     the log has the event. What has a greater revision in the log takes precedence for
//     good, so such a note is right whatever else happens.
//   - What the store has of hold_ids that this server has not seen. A look costs more
//     than an event, so there are lookRate of them a second at most.
//
// So a note is never wrong, and may be missing: behind another gateway, or for the first
// event of a hold_id in a burst.

const (
	// keptIDs is how many hold_ids are kept in memory at most.
	keptIDs = 1 << 16
	// lookRate and lookBurst are how many hold_ids are looked up in the store.
	lookRate  = 1000
	lookBurst = 2048
	// lookWithin bounds a look at the store, which an event waits for.
	lookWithin = 100 * time.Millisecond
)

// Pairs reads pairs as they are applied. *query.Service is one.
type Pairs interface {
	// StoredPairs calls fn with each pair that the store has, as it has it now, and with
	// a position up to which its facts are all there. What fn has read is not valid
	// after an error.
	StoredPairs(ctx context.Context, keys []projection.PairKey, fn func(i int, p *hold.Pair, position uint64)) error
	// AppliedPair waits until all is applied that the log held at the call, and calls fn
	// with a pair of its own.
	AppliedPair(ctx context.Context, key projection.PairKey, fn func(p *hold.Pair, position uint64) error) error
}

// idKey names a hold_id of a pair. Two of them are equal by chance in one of 2^64 cases.
type idKey [2]uint64

// seenID is what is known of a hold_id.
type seenID struct {
	standing hold.Standing
	looked   bool // in the store, too
}

// notes makes notes. It is safe for concurrent use.
type notes struct {
	pairs  Pairs       // nil: there is no store
	sealed func() bool // a log that was sealed refuses events that it has; see finish
	rules  func() hold.Rules
	looks  *rate.Limiter
	seeds  [2]maphash.Seed

	mu sync.Mutex
	// recent and older are the hold_ids that were seen last. Their keys are made by the
	// rules of a version; those of others mean nothing.
	version       string
	recent, older map[idKey]*seenID
}

func newNotes(cfg *Config) *notes {
	return &notes{
		pairs: cfg.Pairs, sealed: cfg.Sealed, rules: cfg.Rules, looks: rate.NewLimiter(lookRate, lookBurst),
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		recent: map[idKey]*seenID{},
	}
}

// noted is an event with a hold_id on its way to the log.
type noted struct {
	index int
	key   idKey
	fact  hold.Fact // without its HoldID
	found *found    // nil: it was not looked up
}

// found is what the store has of a hold_id.
type found struct {
	standing hold.Standing
	text     string // a note
}

// prepared are the events of one call that may get a note.
type prepared struct {
	version string
	sealed  bool
	events  []noted
}

// prepare looks at the events of a call before they are sent. It returns nil if none has
// a hold_id.
func (n *notes) prepare(ctx context.Context, drafts []hold.Draft) *prepared {
	var p *prepared
	var rules hold.Rules
	for i := range drafts {
		d := &drafts[i]
		if d.HoldID == "" {
			continue
		}
		event, err := eventOf(d)
		if err != nil {
			continue // the producer refuses it
		}
		if p == nil {
			rules = n.rules()
			p = &prepared{version: rules.Version(), sealed: n.sealed(), events: make([]noted, 0, len(drafts)-i)}
		}
		fact := event.Fact()
		fact.HoldID = ""
		p.events = append(p.events, noted{index: i, key: n.key(rules, d), fact: fact})
	}
	if p == nil || n.pairs == nil {
		return p
	}
	n.look(ctx, p, drafts)
	if n.rules().Version() != p.version {
		// What the store named by other rules may be of another pair.
		for i := range p.events {
			p.events[i].found = nil
		}
		return p
	}
	n.learn(p)
	return p
}

func (n *notes) key(rules hold.Rules, d *hold.Draft) (key idKey) {
	texts := [...]string{rules.Holder(d.Holder), rules.Token(d.Token), d.HoldID}
	for i, seed := range n.seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		for _, text := range texts {
			_, _ = h.WriteString(text)
			_ = h.WriteByte(0) // no id has it
		}
		key[i] = h.Sum64()
	}
	return key
}

// look reads what the store has of the hold_ids that this server has not seen, up to
// the limit. Without an answer there are fewer notes.
func (n *notes) look(ctx context.Context, p *prepared, drafts []hold.Draft) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var places []int // of p.events
	var keys []projection.PairKey
	for i := range p.events {
		e := &p.events[i]
		d := &drafts[e.index]
		key := projection.PairKey{Holder: d.Holder, Token: d.Token}
		known, suspect := n.known(p, e)
		switch {
		case suspect && n.looks.Allow():
			// What this server has seen may not be applied yet.
			var read *found
			err := n.pairs.AppliedPair(ctx, key, func(pair *hold.Pair, position uint64) error {
				read = e.read(pair, d.HoldID, position)
				return pair.Err()
			})
			if err == nil {
				e.found = read
			}
		case !known && n.looks.Allow():
			places, keys = append(places, i), append(keys, key)
		}
	}
	if len(keys) == 0 {
		return
	}
	read := make([]*found, len(places))
	err := n.pairs.StoredPairs(ctx, keys, func(i int, pair *hold.Pair, position uint64) {
		e := &p.events[places[i]]
		read[i] = e.read(pair, drafts[e.index].HoldID, position)
	})
	if err != nil {
		return
	}
	for i, at := range places {
		if read[i] == nil {
			read[i] = new(found) // the store does not have the pair
		}
		p.events[at].found = read[i]
	}
}

// read returns what a pair has of the event's hold_id.
func (e *noted) read(pair *hold.Pair, holdID string, position uint64) *found {
	f := &found{standing: hold.StandingOf(pair, holdID)}
	stop := e.fact
	stop.HoldID = holdID
	if why := hold.StopOverruled(pair, &stop); why.By != hold.NotOverruled {
		f.text = fmt.Sprintf("%s (as of position %d)", why, position)
	}
	return f
}

// known reports whether nothing needs to be looked up for an event, and whether it is a
// stop that may change nothing.
func (n *notes) known(p *prepared, e *noted) (known, suspect bool) {
	if p.sealed {
		return false, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	id := n.get(p.version, e.key)
	if id == nil {
		return false, false
	}
	return id.looked, id.standing.MayOverruleStop(&e.fact)
}

// learn keeps what the store has of the hold_ids that were looked up.
func (n *notes) learn(p *prepared) {
	if p.sealed {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range p.events {
		e := &p.events[i]
		if e.found == nil {
			continue
		}
		id := n.make(p.version, e.key)
		id.looked = true
		id.standing.Merge(&e.found.standing)
	}
}

// finish returns the notes of the events that the log has now, by their indexes, and
// keeps what they say. It does not block.
//
// A sealed log may have events that their pairs refuse, and then they take precedence
// over nothing. Only what the store has applied counts then.
func (p *prepared) finish(n *notes, accepted func(index int) bool) (notes []Note) {
	if p == nil {
		return nil
	}
	sealed := p.sealed || n.sealed()
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range p.events {
		e := &p.events[i]
		if !accepted(e.index) {
			continue
		}
		var standing *hold.Standing
		switch {
		case !sealed:
			standing = &n.make(p.version, e.key).standing
		case e.found != nil:
			standing = &e.found.standing
		default:
			continue
		}
		text := standing.Overruled(&e.fact).String()
		if text == "" && e.found != nil {
			text = e.found.text
		}
		if text != "" {
			notes = append(notes, Note{e.index, text})
		}
		if !sealed {
			standing.Add(&e.fact)
		}
	}
	return notes
}

// get returns what is known of a hold_id, or nil.
func (n *notes) get(version string, key idKey) *seenID {
	if version != n.version {
		n.version, n.recent, n.older = version, map[idKey]*seenID{}, nil
	}
	if id := n.recent[key]; id != nil {
		return id
	}
	id := n.older[key]
	if id != nil {
		n.put(key, id)
	}
	return id
}

// make is get for a hold_id that may not be known yet.
func (n *notes) make(version string, key idKey) *seenID {
	id := n.get(version, key)
	if id == nil {
		id = new(seenID)
		n.put(key, id)
	}
	return id
}

// put keeps a hold_id. Those that were not seen for long go.
func (n *notes) put(key idKey, id *seenID) {
	if len(n.recent) == keptIDs/2 {
		n.older, n.recent = n.recent, make(map[idKey]*seenID, keptIDs/2)
	}
	n.recent[key] = id
}
