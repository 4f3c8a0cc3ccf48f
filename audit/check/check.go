// Package check compares a log with everything that was made from it: its copy in immudb,
// checkpoints, stores and snapshots.
package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/ledger"
	"holdmetrics/audit/replay"
	"holdmetrics/audit/source"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
)

// Difference is something that does not agree with the log.
type Difference struct {
	Position uint64 // of the log; 0: it is not about one
	Holder   string // empty: it is not about one
	Reason   string
}

// String names the place, and what is wrong there.
func (d Difference) String() string {
	switch {
	case d.Holder != "" && d.Position != 0:
		return fmt.Sprintf("position %d, holder %q: %s", d.Position, d.Holder, d.Reason)
	case d.Holder != "":
		return fmt.Sprintf("holder %q: %s", d.Holder, d.Reason)
	case d.Position != 0:
		return fmt.Sprintf("position %d: %s", d.Position, d.Reason)
	}
	return d.Reason
}

// Config says what is compared. Log is required.
type Config struct {
	Log   source.Log
	Rules hold.Rules // by which scores count; nil: no scores and no states are compared

	Copy ledger.Reader // nil: none
	// Checkpoint is one of the log that somebody has kept; nil: none.
	Checkpoint *proof.Checkpoint
	// Scores are holders as a store or a bucket has them, each at its own position.
	Scores []Scores

	From, To uint64 // positions that are compared; 0: all
	Holder   string // of this holder alone; empty: all

	Progress func(position uint64) // may be nil
}

// Result is what was compared.
type Result struct {
	LogID               string
	From, To            uint64
	Messages, Events    uint64 // compared with the copy
	States, OtherStates int    // compared, and of other rules
	Holders             int    // compared with the replay
	Lost                uint64 // positions that were accepted as lost
	Checkpoint          bool   // the root was compared with one
	Copied              ledger.PositionRecord
}

// Nothing reports that the log has messages, and that none of them was compared with
// anything.
func (r *Result) Nothing() bool {
	return r.To >= r.From && r.Messages == 0 && r.States == 0 && r.Holders == 0 && r.Lost == 0 && !r.Checkpoint
}

// ErrLog: the log cannot be read whole, so nothing more can be compared.
var ErrLog = errors.New("the log cannot be read whole")

// checker is a comparison under way.
type checker struct {
	Config
	report   func(Difference)
	result   Result
	contents *ledger.Contents
	replay   *replay.Replay
	tree     proof.Tree
	leaf     string
	last     uint64 // position of the log
	states   map[uint64][]ledger.StateRecord
	holder   string // Config.Holder, as the rules name it
	met      bool   // an event of the holder was seen
	broken   bool   // the log and the copy no longer agree, so what follows would be repeated
	scores   []*scoreCheck
}

// Run compares, and calls report with the first difference of each kind: of the copy, of a
// state, of the checkpoint, of each store. A difference is no error.
func Run(ctx context.Context, cfg Config, report func(Difference)) (Result, error) {
	c := &checker{Config: cfg, report: report, states: map[uint64][]ledger.StateRecord{}}
	c.holder = c.named(c.Holder)
	if c.Progress == nil {
		c.Progress = func(uint64) {}
	}
	if err := c.begin(ctx); err != nil {
		return c.result, err
	}
	if err := c.walk(ctx); err != nil {
		return c.result, err
	}
	return c.result, c.end(ctx)
}

func (c *checker) begin(ctx context.Context) error {
	end, err := c.Log.LastPosition(ctx)
	if err != nil {
		return err
	}
	c.last = end
	c.result.LogID, c.result.From, c.result.To = c.Log.ID(), max(c.From, 1), end
	if c.To != 0 {
		c.result.To = min(c.To, end)
	}
	if c.From > 1 && c.From > end {
		return fmt.Errorf("--from %d is behind the end of the log, which is position %d", c.From, end)
	}
	if c.Copy != nil {
		if c.contents, err = ledger.ReadContents(ctx, c.Copy); err != nil {
			return err
		}
		if err := c.beginCopy(); err != nil {
			return err
		}
	}
	if c.Checkpoint != nil {
		if c.Checkpoint.LogID != c.Log.ID() {
			return fmt.Errorf("the checkpoint is of log %s, and this is log %s: name the right one", c.Checkpoint.LogID, c.Log.ID())
		}
	}
	if c.Rules != nil {
		c.replay = replay.New(c.Log, c.Rules)
		for _, s := range c.Scores {
			check, err := newScoreCheck(ctx, s, c)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				c.report(Difference{Reason: "cannot be read: " + err.Error()})
				continue
			}
			c.scores = append(c.scores, check)
		}
	}
	return nil
}

func (c *checker) beginCopy() error {
	if c.contents.Log.LogID != c.Log.ID() {
		return fmt.Errorf("%w: %s, and this is log %s", ledger.ErrOtherLog, c.contents.Log.LogID, c.Log.ID())
	}
	c.result.Copied = c.contents.Has
	for _, f := range c.contents.Faults {
		if f.Position == 0 || c.within(f.Position) {
			c.report(Difference{Position: f.Position, Reason: "immudb: " + f.Reason})
			c.broken = true
			break
		}
	}
	if c.Rules != nil {
		for _, s := range c.contents.States {
			if s.Rules != c.Rules.Version() {
				c.result.OtherStates++
			} else if c.within(s.Position) {
				c.states[s.Position] = append(c.states[s.Position], s)
			}
		}
	}
	return nil
}

// within reports whether a position is to be compared.
func (c *checker) within(position uint64) bool {
	return position >= c.result.From && (c.To == 0 || position <= c.To)
}

// walk reads the log once, from its beginning: scores and roots need all of it.
func (c *checker) walk(ctx context.Context) error {
	to := c.result.To
	if c.Checkpoint != nil || len(c.scores) > 0 {
		to = 0 // all
	}
	from := uint64(1)
	if c.replay == nil && c.Checkpoint == nil {
		from = c.result.From
		if err := c.before(ctx, from); err != nil {
			return err
		}
	}
	next := from
	lost := func(before uint64) error {
		for next < before && c.Log.IsLost(next) {
			if l := (proof.Leaf{Position: next, Lost: true}); c.Checkpoint != nil && next <= c.Checkpoint.Size {
				c.tree.Add(l.Hash(), func(proof.Tile) {})
			}
			_, leaf, err := ledger.Lost(next, c.leaf)
			if err != nil {
				return err
			}
			c.leaf = leaf
			c.result.Lost++
			next++
		}
		return nil
	}
	for m, err := range c.Log.Read(ctx, ingest.Range{From: from, To: to}) {
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.unread(next, err)
		}
		if err := lost(m.Position); err != nil {
			return err
		}
		if m.Position != next {
			c.report(Difference{Position: next, Reason: fmt.Sprintf("missing: position %d of the log follows", m.Position)})
			return nil
		}
		if err := c.message(ctx, m); err != nil {
			return err
		}
		next++
		c.Progress(m.Position)
	}
	return lost(c.last + 1)
}

// before reads the leaf of the position before the first one.
func (c *checker) before(ctx context.Context, from uint64) error {
	if from == 1 {
		return nil
	}
	for m, err := range c.Log.Read(ctx, ingest.Range{From: from - 1, To: from - 1}) {
		if err != nil {
			return c.unread(from-1, err)
		}
		_, leaf, err := ledger.Message(c.Log, m, "")
		c.leaf = leaf
		return err
	}
	return nil
}

// unread reports where the log cannot be read.
func (c *checker) unread(position uint64, err error) error {
	c.report(Difference{Position: position, Reason: "the log cannot be read from here on: " + err.Error()})
	return fmt.Errorf("%w: position %d", ErrLog, position)
}

func (c *checker) message(ctx context.Context, m *ingest.Message) error {
	pairs, leaf, err := ledger.Message(c.Log, m, c.leaf)
	if err != nil {
		return err
	}
	c.leaf = leaf
	if c.within(m.Position) && m.Position <= c.result.To && c.concerns(m) && c.contents != nil && !c.broken {
		if err := c.compare(ctx, m, pairs); err != nil {
			return err
		}
	}
	if c.Checkpoint != nil && m.Position <= c.Checkpoint.Size {
		l := proof.LeafOf(m)
		c.tree.Add(l.Hash(), func(proof.Tile) {})
	}
	if c.replay == nil {
		return nil
	}
	if err := c.replay.Apply(ctx, m); err != nil {
		return err
	}
	c.compareStates(m)
	for _, s := range c.scores {
		s.at(m.Position)
	}
	return nil
}

// concerns reports whether a message has an event of the holder.
func (c *checker) concerns(m *ingest.Message) bool {
	if c.Holder == "" {
		return true
	}
	for e := range m.Entries() {
		if e.Err == nil && c.named(e.Draft.Holder) == c.holder {
			c.met = true
			return true
		}
	}
	return false
}

// named returns a holder as the rules name it.
func (c *checker) named(holder string) string {
	if c.Rules == nil {
		return holder
	}
	return c.Rules.Holder(holder)
}

// compare compares a message with the copy.
func (c *checker) compare(ctx context.Context, m *ingest.Message, pairs []immu.Pair) error {
	own, err := ledger.DigestOf(pairs)
	if err != nil {
		return err
	}
	copied := c.contents.Frames[m.Position]
	inside := m.Position >= c.contents.Has.From && m.Position <= c.contents.Has.Through
	switch {
	case !inside && copied == nil:
		return nil // not copied
	case !inside && copied.Events >= 0 && copied.Frame == own.Frame && copied.Events < own.Events:
		return nil // a follower that was killed has written a part of it
	case copied == nil:
		c.broken = true
		c.report(Difference{Position: m.Position, Reason: "immudb: missing: the copy has no such message"})
	case *copied == own:
		c.result.Messages++
		c.result.Events += uint64(own.Events)
	default:
		c.broken = true
		reason, err := c.explain(ctx, m, pairs, &own, copied)
		if err != nil {
			return err
		}
		c.report(Difference{Position: m.Position, Reason: reason})
	}
	return nil
}

// explain says how a message differs from the copy: where it was moved from, or which of
// its events is another one.
func (c *checker) explain(ctx context.Context, m *ingest.Message, pairs []immu.Pair, own, copied *ledger.Digest) (string, error) {
	sumAt := func(position uint64) string {
		if d := c.contents.Frames[position]; d != nil {
			return d.SHA256
		}
		return ""
	}
	if own.SHA256 != copied.SHA256 {
		next, err := c.nextSum(ctx, m.Position)
		if err != nil {
			return "", err
		}
		switch {
		case own.SHA256 == sumAt(m.Position+1) && next == copied.SHA256:
			return fmt.Sprintf("moved: the messages of positions %d and %d were swapped", m.Position, m.Position+1), nil
		case own.SHA256 == sumAt(m.Position+1):
			return "removed: the log has the message of the next position in its place", nil
		case next == copied.SHA256:
			return "added: the log has another message before the one that was copied", nil
		}
		for position, d := range c.contents.Frames {
			if d.SHA256 == own.SHA256 {
				return fmt.Sprintf("moved: the log has the message of position %d in its place", position), nil
			}
		}
	}
	events, err := ledger.Events(ctx, c.Copy, m.Position, max(copied.Events, 0))
	if err != nil {
		return "", err
	}
	return eventDifference(pairs[1:], events, pairs[0].Value), nil
}

// nextSum returns the SHA-256 of the message behind a position of the log; empty: there is
// none.
func (c *checker) nextSum(ctx context.Context, position uint64) (string, error) {
	for m, err := range c.Log.Read(ctx, ingest.Range{From: position + 1, To: position + 1}) {
		if err != nil {
			return "", nil // it is what cannot be read that is reported
		}
		pairs, _, err := ledger.Message(c.Log, m, "")
		if err != nil {
			return "", err
		}
		d, err := ledger.DigestOf(pairs)
		return d.SHA256, err
	}
	return "", nil
}

// eventDifference names the first event that differs.
func eventDifference(own []immu.Pair, copied [][]byte, frame []byte) string {
	var f ledger.FrameRecord
	_ = json.Unmarshal(frame, &f) // which we have written
	for i := range own {
		if i >= len(copied) {
			return fmt.Sprintf("added: event %d is in the log and not in the copy: %s", i, shown(own[i].Value))
		}
		if bytes.Equal(own[i].Value, copied[i]) {
			continue
		}
		at := func(value []byte, in [][]byte) int {
			return slices.IndexFunc(in, func(v []byte) bool { return sameEvent(v, value) })
		}
		all := make([][]byte, len(own))
		for j := range own {
			all[j] = own[j].Value
		}
		switch from, to := at(own[i].Value, copied), at(copied[i], all); {
		case from >= 0 && to >= 0:
			return fmt.Sprintf("moved: events %d and %d changed places: %s", i, max(from, to), shown(own[i].Value))
		case from > i:
			return fmt.Sprintf("removed: event %d of the copy is not in the log: %s", i, shown(copied[i]))
		case to > i:
			return fmt.Sprintf("added: event %d is in the log and not in the copy: %s", i, shown(own[i].Value))
		}
		return fmt.Sprintf("changed: event %d is %s, and was %s", i, shown(own[i].Value), shown(copied[i]))
	}
	if len(copied) > len(own) {
		return fmt.Sprintf("removed: event %d of the copy is not in the log: %s", len(own), shown(copied[len(own)]))
	}
	return fmt.Sprintf("changed: its bytes, time or partition are others: partition %d, %s, SHA-256 %s", f.Partition, f.Time.Format("2006-01-02T15:04:05.999999999Z07:00"), f.SHA256)
}

// sameEvent reports whether two records are of the same event, whatever their places.
func sameEvent(a, b []byte) bool { return len(a) > 0 && string(eventOf(a)) == string(eventOf(b)) }

func eventOf(value []byte) []byte {
	if i := bytes.Index(value, []byte(`,"event":`)); i >= 0 {
		return value[i:]
	}
	return value
}

func shown(value []byte) string {
	var e struct {
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(value, &e); err != nil || e.Event == nil {
		return string(value)
	}
	return string(e.Event)
}

// compareStates compares the hashes of states that the copy has at a position.
func (c *checker) compareStates(m *ingest.Message) {
	for _, s := range c.states[m.Position] {
		pair, err := ledger.State(c.replay, c.Rules.Version(), s.Partition, s.Position)
		var own ledger.StateRecord
		if err == nil {
			err = json.Unmarshal(pair.Value, &own)
		}
		if err != nil || own != s {
			c.report(Difference{Position: m.Position, Reason: fmt.Sprintf("the state of partition %d by rules %s is another one: SHA-256 %s, and it was %s: the events before it were changed, or the program counts otherwise",
				s.Partition, s.Rules, own.SHA256, s.SHA256)})
			c.states = nil // what follows from it differs too
			return
		}
		c.result.States++
	}
}

// behind is the first position that the copy has behind the end of the log; 0: there is none.
func (c *checker) behind() (first uint64) {
	for position := range c.contents.Frames {
		if position > c.last && (first == 0 || position < first) {
			first = position
		}
	}
	return first
}

func (c *checker) end(ctx context.Context) error {
	ends := func(what string, through uint64) {
		c.report(Difference{Position: c.last + 1, Reason: fmt.Sprintf("missing: the log ends at %d, and %s up to %d", c.last, what, through)})
	}
	if c.contents != nil && !c.broken && c.To == 0 && c.contents.Has.Through > c.last {
		c.broken = true
		ends("immudb has positions", c.contents.Has.Through)
	}
	if c.Checkpoint != nil && c.Checkpoint.Size > c.last {
		ends("the checkpoint covers positions", c.Checkpoint.Size)
	}
	if c.contents != nil && !c.broken && c.To == 0 {
		if behind := c.behind(); behind != 0 {
			c.broken = true
			c.report(Difference{Position: behind, Reason: fmt.Sprintf("missing: the log ends at %d, and immudb has a message of this position", c.last)})
		}
	}
	if c.contents != nil && !c.broken && c.Holder == "" {
		for position := c.contents.Has.From; position <= min(c.contents.Has.Through, c.result.To); position++ {
			if c.within(position) && c.contents.Frames[position] == nil {
				c.report(Difference{Position: position, Reason: "immudb: missing: the copy has no such message"})
				break
			}
		}
	}
	if c.Checkpoint != nil && c.tree.Size() >= c.Checkpoint.Size && c.Checkpoint.Size > 0 {
		c.result.Checkpoint = true
		if root := c.tree.Root(); c.tree.Size() == c.Checkpoint.Size && root != c.Checkpoint.Root {
			c.report(Difference{Reason: fmt.Sprintf("the log is not the one that the checkpoint of %d positions states: one of them was changed, removed, added or moved", c.Checkpoint.Size)})
		}
	}
	for _, s := range c.scores {
		if err := s.end(ctx); err != nil {
			return err
		}
		c.result.Holders += s.compared
	}
	if c.Holder != "" && !c.met {
		return fmt.Errorf("holder %q has no event in positions %d to %d: check its spelling", c.Holder, c.result.From, c.result.To)
	}
	return nil
}
