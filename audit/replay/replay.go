// Package replay computes scores from a log a second time, by the plainest code that can:
// every pair in memory, one event after the other. It is what the store, the snapshots and
// the hashes of states are compared with.
package replay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"holdmetrics/audit/source"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Replay is the state of a log. It is not safe for concurrent use.
type Replay struct {
	log        source.Log
	rules      hold.Rules
	partitions []partition
	whole      bool // rules move holders between partitions, so each goes by the clock of the whole log
}

type partition struct {
	clock    int64 // the latest time of a message
	horizon  int64
	messages uint64
	holders  map[string]*Holder
}

// Holder is what a holder has.
type Holder struct {
	Pairs     map[string]*Pair // by token
	Position  uint64           // of the last event
	UpdatedAt int64            // the log's time of it
}

// Pair is what a holder has of one token.
type Pair struct {
	state *hold.Pair
	rule  *hold.Rule
	at    int64 // the log's time of the last event
}

// New returns the state of an empty log.
func New(log source.Log, rules hold.Rules) *Replay {
	r := &Replay{log: log, rules: rules, partitions: make([]partition, log.Partitions())}
	r.whole = rules.NormalisesHolders() && !ingest.CaseKeepsPartition(log.Partitions())
	for i := range r.partitions {
		r.partitions[i].holders = map[string]*Holder{}
	}
	return r
}

// Apply applies the next message.
func (r *Replay) Apply(ctx context.Context, m *ingest.Message) error {
	own := &r.partitions[m.Partition]
	own.messages++
	if r.whole {
		for i := range r.partitions {
			r.partitions[i].clock = max(r.partitions[i].clock, m.Time)
		}
	} else {
		own.clock = max(own.clock, m.Time)
	}
	if ingest.IsSeal(m.Data) {
		horizon, err := ingest.ReadSeal(m.Data)
		if err != nil {
			return nil // a dead letter
		}
		known, err := r.log.KnowsHorizon(ctx, horizon)
		if err == nil && ingest.SealRefused(horizon, m.Time, known) == nil {
			own.horizon = max(own.horizon, horizon)
		}
		return err
	}
	for e := range m.Entries() {
		if event, ok := r.accepted(m, &e); ok {
			r.add(m, &event)
		}
	}
	return nil
}

// accepted returns the event as the rules name it, unless it is refused or does not count.
func (r *Replay) accepted(m *ingest.Message, e *ingest.Entry) (hold.Event, bool) {
	event, err := Judge(r.log, m, e)
	if err != nil {
		return event, false
	}
	event.Token, event.Holder = r.rules.Token(event.Token), r.rules.Holder(event.Holder)
	if r.rules.Of(event.Token).Accepts(event.HoldID) != nil {
		return event, false
	}
	return event, true
}

// Judge reports whether an event of a message counts, whatever the rules, as the
// processor decides.
func Judge(log source.Log, m *ingest.Message, e *ingest.Entry) (hold.Event, error) {
	if e.Err != nil {
		return hold.Event{}, e.Err
	}
	event, err := e.Draft.Check(m.Time+ingest.AcceptedAhead, log.LimitsAt(m.Position))
	if err != nil {
		return hold.Event{}, err
	}
	if home := ingest.Partition(event.Holder, log.Partitions()); home != m.Partition {
		return hold.Event{}, ingest.WrongPartition(home, m.Partition)
	}
	return event, nil
}

func (r *Replay) add(m *ingest.Message, event *hold.Event) {
	home := &r.partitions[ingest.Partition(event.Holder, len(r.partitions))]
	if event.CheckSealed(home.horizon) != nil || r.rules.Excluded(event.Holder) {
		return
	}
	h := home.holders[event.Holder]
	var p *Pair
	if h != nil {
		p = h.Pairs[event.Token]
	}
	if p == nil {
		rule := r.rules.Of(event.Token)
		p = &Pair{state: hold.NewPair(rule.Policy), rule: rule}
	}
	fact, before := event.Fact(), p.at
	if home.horizon != 0 {
		p.seal(home.horizon)
		if p.state.Admits(&fact, home.horizon) != nil {
			return
		}
	}
	if h == nil {
		h = &Holder{Pairs: map[string]*Pair{}}
		home.holders[event.Holder] = h
	}
	h.Pairs[event.Token] = p
	p.at, h.UpdatedAt, h.Position = home.clock, home.clock, m.Position
	p.state.Add(fact)
	if before < home.horizon {
		p.seal(home.horizon)
	}
}

func (p *Pair) seal(horizon int64) {
	if p.rule.Seals() {
		p.state.Seal(horizon, p.at)
	}
}

// Figures returns the figures of the pair.
func (p *Pair) Figures() hold.Figures { return p.rule.Figures(p.state, p.at) }

// Figures returns the figures of the holder: the sum of its pairs.
func (h *Holder) Figures() hold.Figures {
	var sum hold.Figures
	for i, token := range slices.Sorted(maps.Keys(h.Pairs)) {
		if f := h.Pairs[token].Figures(); i == 0 {
			sum = f
		} else {
			sum = sum.Plus(f)
		}
	}
	return sum
}

// Holder returns a holder, or nil if there is none.
func (r *Replay) Holder(id string) *Holder {
	return r.partitions[ingest.Partition(id, len(r.partitions))].holders[id]
}

// Holders returns the ids of the holders of a partition, sorted.
func (r *Replay) Holders(partition int) []string {
	return slices.Sorted(maps.Keys(r.partitions[partition].holders))
}

// Messages returns how many messages of a partition were applied.
func (r *Replay) Messages(partition int) uint64 { return r.partitions[partition].messages }

// State is the hash over the canonical state of a partition: the effective holds and the
// figures of its pairs, by holder and token.
type State struct {
	Sum     [sha256.Size]byte
	Holders int
	Pairs   int
}

// State returns the hash over the canonical state of a partition.
func (r *Replay) State(id int) State {
	p := &r.partitions[id]
	s := State{Holders: len(p.holders)}
	w := writer{sum: sha256.New()}
	w.text("holdmetrics state 1")
	w.text(r.rules.Version())
	w.number(uint64(id))
	for _, name := range slices.Sorted(maps.Keys(p.holders)) {
		h := p.holders[name]
		for _, token := range slices.Sorted(maps.Keys(h.Pairs)) {
			pair := h.Pairs[token]
			if p.horizon != 0 {
				pair.seal(p.horizon)
			}
			s.Pairs++
			w.pair(name, token, pair)
		}
	}
	w.sum.Sum(s.Sum[:0])
	return s
}

// writer writes what a hash is over. Texts have their lengths before them, so that two
// states never give the same bytes.
type writer struct {
	sum hash.Hash
	buf []byte
}

func (w *writer) text(s string) {
	w.number(uint64(len(s)))
	w.sum.Write([]byte(s))
}

func (w *writer) number(n uint64) {
	w.buf = binary.BigEndian.AppendUint64(w.buf[:0], n)
	w.sum.Write(w.buf)
}

func (w *writer) pair(holder, token string, p *Pair) {
	w.text(holder)
	w.text(token)
	w.number(uint64(p.state.Policy()))
	holds := 0
	for h := range p.state.Holds() {
		holds++
		w.text(h.HoldID)
		w.number(uint64(h.Start))
		w.number(uint64(h.End))
		w.text(h.Weight.String())
	}
	w.number(uint64(holds))
	f := p.Figures()
	w.text(string(f.Append(nil)))
}

// FiguresAt returns the figures of the holder with lines that begin at an instant, which
// is not before the last event.
func (h *Holder) FiguresAt(at int64) hold.Figures {
	var sum hold.Figures
	for i, token := range slices.Sorted(maps.Keys(h.Pairs)) {
		p := h.Pairs[token]
		if f := p.rule.Figures(p.state, at); i == 0 {
			sum = f
		} else {
			sum = sum.Plus(f)
		}
	}
	return sum
}
