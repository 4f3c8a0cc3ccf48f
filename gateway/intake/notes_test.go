package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// pairsOf are pairs of one holder that the store has; err is what a look comes to.
type pairsOf struct {
	facts map[projection.PairKey][]hold.Fact
	err   error
	looks int
}

func (s *pairsOf) StoredPairs(_ context.Context, keys []projection.PairKey, fn func(i int, p *hold.Pair, position uint64)) error {
	for i, k := range keys {
		if s.looks++; s.facts[k] != nil {
			fn(i, hold.PairFromFacts(hold.Merge, slices.Values(s.facts[k])), 77)
		}
	}
	return s.err
}

func (s *pairsOf) AppliedPair(_ context.Context, key projection.PairKey, fn func(p *hold.Pair, position uint64) error) error {
	if s.looks++; s.err != nil {
		return s.err
	}
	return fn(hold.PairFromFacts(hold.Merge, slices.Values(s.facts[key])), 78)
}

// heldByID is a hold of an id, open or ended.
func heldByID(revision uint64, end int64, weight float64) hold.Draft {
	d := hold.Draft{Token: "t", Holder: "a", HoldID: "h", Revision: revision, Start: hold.StampOf(1_600_000_000e9), Weight: weight}
	if end != 0 {
		d.End = hold.StampOf(end)
	}
	return d
}

func stopByID(revision uint64, end int64) hold.Draft {
	return hold.Draft{Token: "t", Holder: "a", HoldID: "h", Revision: revision, End: hold.StampOf(end)}
}

func retractByID(revision uint64) hold.Draft {
	return hold.Draft{Token: "t", Holder: "a", HoldID: "h", Revision: revision, Retract: true}
}

const noteTime = 1_600_000_100e9

// Every way of sending gives the same notes: of what came before in the same batch, or
// earlier, and of what the store has.
func TestNotes(t *testing.T) {
	t.Parallel()
	const lower, equal, retracted, ended, stopped = "revision 2 of this hold_id takes precedence", "another event of revision 2",
		"was retracted by revision 3", "states its end", "a stop of revision 5"
	other := heldByID(1, 0, 1)
	other.Token = "u"
	plain := heldByID(0, 0, 1)
	plain.HoldID, plain.Revision = "", 0
	for _, c := range []struct {
		name   string
		stored []hold.Draft
		drafts []hold.Draft
		want   []string // "": none
	}{
		{"a greater revision", nil, []hold.Draft{heldByID(1, 0, 1), heldByID(2, 0, 1), heldByID(1, 0, 1), other, plain}, []string{"", "", lower, "", ""}},
		{"the same again", nil, []hold.Draft{heldByID(2, 0, 1), heldByID(2, 0, 1)}, []string{"", ""}},
		{"a smaller weight", nil, []hold.Draft{heldByID(2, 0, 100), heldByID(2, 0, 40)}, []string{"", equal}},
		{"a greater weight", nil, []hold.Draft{heldByID(2, 0, 40), heldByID(2, 0, 100)}, []string{"", ""}},
		{"open after ended", nil, []hold.Draft{heldByID(2, noteTime, 1), heldByID(2, 0, 1)}, []string{"", equal}},
		{"retracted", nil, []hold.Draft{retractByID(3), heldByID(3, 0, 1), heldByID(4, 0, 1), retractByID(3)}, []string{"", retracted, "", "revision 4 of this hold_id"}},
		{"stored", []hold.Draft{heldByID(2, 0, 1)}, []hold.Draft{heldByID(1, 0, 1), retractByID(1), heldByID(2, noteTime, 1)}, []string{lower, lower, ""}},
		{"a stop of what has ended", []hold.Draft{heldByID(2, noteTime, 1)}, []hold.Draft{stopByID(1, noteTime-1), stopByID(3, noteTime-1)}, []string{ended + "; send a greater revision (as of position 7", ""}},
		{"another stop", []hold.Draft{heldByID(2, 0, 1), stopByID(5, noteTime)}, []hold.Draft{stopByID(4, noteTime-1), stopByID(5, noteTime)}, []string{stopped, ""}},
		{"no hold", []hold.Draft{stopByID(5, noteTime)}, []hold.Draft{stopByID(4, noteTime-1)}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := func() *pairsOf {
				s := &pairsOf{facts: map[projection.PairKey][]hold.Fact{}}
				for i := range c.stored {
					event, err := eventOf(&c.stored[i])
					if err != nil {
						t.Fatal(err)
					}
					key := projection.PairKey{Holder: event.Holder, Token: event.Token}
					s.facts[key] = append(s.facts[key], event.Fact())
				}
				return s
			}
			got := map[string][]string{}
			in := newIntake(store(), hold.PlainRules(hold.Merge))
			batch := make(chan Batch, 1)
			in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), c.drafts, func(b Batch) { batch <- b })
			got["batch"] = make([]string, len(c.drafts))
			for _, note := range (<-batch).Notes {
				got["batch"][note.Index] = note.Text
			}
			in = newIntake(store(), hold.PlainRules(hold.Merge))
			for i := range c.drafts {
				r, err := in.Record(t.Context(), Record, &c.drafts[i], nil)
				if err != nil || r.Position == 0 {
					t.Fatal(r, err)
				}
				got["record"] = append(got["record"], r.Note)
			}
			stream := newIntake(store(), hold.PlainRules(hold.Merge)).Stream(t.Context(), BroadcastBatch)
			for i := range c.drafts {
				sent := make(chan Receipt, 1)
				if err := stream.Send(t.Context(), &c.drafts[i], func(r Receipt, err error) { sent <- r }); err != nil {
					t.Fatal(err)
				}
				got["send"] = append(got["send"], (<-sent).Note)
			}
			for by, notes := range got {
				for i, want := range c.want {
					if (want == "") != (notes[i] == "") || !strings.Contains(notes[i], want) {
						t.Errorf("%s, event %d: %q; want %q", by, i, notes[i], want)
					}
				}
			}
		})
	}
}

// What is not known for certain is not noted: of a log that was sealed only what the
// store has applied counts, and nothing of what was named by other rules, or was refused.
func TestNotesAreNotGuessed(t *testing.T) {
	t.Parallel()
	record := func(in *Intake, d hold.Draft) string {
		t.Helper()
		r, err := in.Record(t.Context(), Record, &d, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Note
	}
	sealed := newIntake(nil, hold.PlainRules(hold.Merge))
	sealed.notes.sealed = func() bool { return true }
	if record(sealed, heldByID(2, 0, 1)); record(sealed, heldByID(1, 0, 1)) != "" {
		t.Error("a note from memory, of a log that was sealed")
	}
	broken := newIntake(&pairsOf{err: errors.New("away"), facts: map[projection.PairKey][]hold.Fact{
		{Holder: "a", Token: "t"}: {{Kind: hold.KindHold, HoldID: "h", Revision: 5, Start: 1}},
	}}, hold.PlainRules(hold.Merge))
	if note := record(broken, heldByID(1, 0, 1)); note != "" {
		t.Errorf("a note of a store that failed: %s", note)
	}

	// Ids that one version of the rules takes for the same, another does not.
	in := newIntake(nil, nil)
	var rules hold.Rules = lotsNeedIDs{hold.PlainRules(hold.Merge)}
	in.cfg.Rules, in.notes.rules = func() hold.Rules { return rules }, func() hold.Rules { return rules }
	upper := heldByID(1, 0, 1)
	upper.Holder = "A"
	if record(in, heldByID(2, 0, 1)); record(in, upper) == "" {
		t.Error("no note, where the rules take two ids for one")
	}
	rules = renamed{hold.PlainRules(hold.Merge)}
	if note := record(in, upper); note != "" {
		t.Errorf("a note by rules that count no more: %s", note)
	}

	wrong := heldByID(9, 1, 1) // it ends before it starts
	batch := make(chan Batch, 1)
	in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), []hold.Draft{wrong, heldByID(3, 0, 1)}, func(b Batch) { batch <- b })
	if b := <-batch; len(b.Refused) != 1 || len(b.Notes) != 0 {
		t.Errorf("%+v; a refused event takes precedence over none", b)
	}
}

// renamed are rules of another version.
type renamed struct{ hold.Rules }

func (renamed) Version() string { return "another" }

// Hold_ids that were not seen for long leave memory; those that are seen stay.
func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	n := newNotes(&Config{Sealed: func() bool { return false }})
	for i := range uint64(3 * keptIDs) {
		n.make("", idKey{i, 0})
		n.make("", idKey{1 << 60, 0})
	}
	if kept := len(n.recent) + len(n.older); kept > keptIDs {
		t.Errorf("%d are kept", kept)
	}
	if n.get("", idKey{1 << 60, 0}) == nil || n.get("", idKey{0, 0}) != nil {
		t.Error("the one that was seen last has gone, or the first is there")
	}
}

// A stop with a weight is accepted with the very weight of what it ends, by what is
// applied and what came with it, and refused otherwise, also where nothing is known.
func TestStopsWithAWeight(t *testing.T) {
	t.Parallel()
	start := func(at int64, weight float64, id string) hold.Draft {
		return hold.Draft{Token: "t", Holder: "a", HoldID: id, Start: hold.StampOf(at * 1e9), Weight: weight}
	}
	stop := func(at int64, weight, id string) hold.Draft {
		return hold.Draft{Token: "t", Holder: "a", HoldID: id, End: hold.StampOf(at * 1e9), WeightExact: weight}
	}
	for _, c := range []struct {
		name    string
		stored  []hold.Draft
		drafts  []hold.Draft
		refused []int
	}{
		{"its weight", []hold.Draft{start(10, 100, "")}, []hold.Draft{stop(20, "100.0", "")}, nil},
		{"less", []hold.Draft{start(10, 100, "")}, []hold.Draft{stop(20, "40", "")}, []int{0}},
		{"no weight is 1", []hold.Draft{start(10, 0, "")}, []hold.Draft{stop(20, "1", "")}, nil},
		{"nothing to end", nil, []hold.Draft{stop(20, "1", "")}, []int{0}},
		{"before it", []hold.Draft{start(30, 1, "")}, []hold.Draft{stop(20, "1", "")}, []int{0}},
		{"the latest", []hold.Draft{start(10, 100, ""), start(11, 40, "")}, []hold.Draft{stop(20, "40", ""), stop(21, "100", ""), stop(22, "100", "")}, []int{2}},
		{"refused ones count for nothing", []hold.Draft{start(10, 100, ""), start(11, 40, "")}, []hold.Draft{stop(20, "7", ""), stop(19, "100", ""), stop(21, "40", ""), stop(22, "100", "")}, []int{0, 1}},
		{"by id", []hold.Draft{start(10, 100, "h"), start(11, 40, "i")}, []hold.Draft{stop(20, "100", "h"), stop(20, "100", "i")}, []int{1}},
		{"again", []hold.Draft{start(10, 100, ""), stop(20, "", "")}, []hold.Draft{stop(20, "100", "")}, nil},
		{"a bad weight", []hold.Draft{start(10, 100, "")}, []hold.Draft{stop(20, "1e2", "")}, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts := func(drafts []hold.Draft) map[projection.PairKey][]hold.Fact {
				all := map[projection.PairKey][]hold.Fact{}
				for i := range drafts {
					event, err := eventOf(&drafts[i])
					if err != nil {
						t.Fatal(err)
					}
					key := projection.PairKey{Holder: event.Holder, Token: event.Token}
					all[key] = append(all[key], event.Fact())
				}
				return all
			}
			send := func(in *Intake, drafts []hold.Draft) (refused []int) {
				batch := make(chan Batch, 1)
				in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), drafts, func(b Batch) { batch <- b })
				b := <-batch
				for _, r := range b.Refused {
					refused = append(refused, r.Index)
				}
				if b.Accepted != len(drafts)-len(refused) || b.Accepted > 0 && b.Position == 0 {
					t.Errorf("%+v", b)
				}
				return refused
			}
			if got := send(newIntake(&pairsOf{facts: facts(c.stored)}, hold.PlainRules(hold.Merge)), c.drafts); !slices.Equal(got, c.refused) {
				t.Errorf("refused %v, want %v", got, c.refused)
			}
			unknown := newIntake(&pairsOf{err: errors.New("away")}, hold.PlainRules(hold.Merge))
			if got := send(unknown, c.drafts); len(got) != len(c.drafts) {
				t.Errorf("refused %v, where nothing is known", got)
			}
			in := newIntake(&pairsOf{facts: facts(c.stored)}, hold.PlainRules(hold.Merge))
			first, want := &c.drafts[0], slices.Contains(c.refused, 0)
			if _, err := in.Record(t.Context(), Record, first, nil); (err != nil) != want {
				t.Errorf("record: %v", err)
			}
			sent := make(chan error, 1)
			err := in.Stream(t.Context(), BroadcastBatch).Send(t.Context(), first, func(_ Receipt, err error) { sent <- err })
			if err == nil {
				err = <-sent
			}
			if (err != nil) != want {
				t.Errorf("send: %v", err)
			}
		})
	}
}

// Looks at the store are limited, and each hold_id is looked up once.
func TestLooksAreLimited(t *testing.T) {
	t.Parallel()
	store := &pairsOf{}
	in := newIntake(store, hold.PlainRules(hold.Merge))
	drafts := make([]hold.Draft, 3*lookBurst)
	for i := range drafts {
		drafts[i] = heldByID(1, 0, 1)
		drafts[i].HoldID = fmt.Sprint(i)
	}
	send := func(drafts []hold.Draft) {
		batch := make(chan Batch, 1)
		in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), drafts, func(b Batch) { batch <- b })
		if b := <-batch; b.Accepted != len(drafts) {
			t.Errorf("%d accepted", b.Accepted)
		}
	}
	send(drafts[:10])
	send(drafts[:10])
	if store.looks != 10 {
		t.Errorf("%d looks for 10 hold_ids", store.looks)
	}
	in.notes.looks.SetLimit(0)
	send(drafts)
	if store.looks > lookBurst+10 {
		t.Errorf("%d looks", store.looks)
	}
}
