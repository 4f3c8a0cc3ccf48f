package hold_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// documents is a store that keeps facts: each has one, and what was sealed stands
// beside them, as it was stored at several positions, perhaps by owners who did not
// know of each other. Facts that are stood for may be removed at any moment.
type documents struct {
	facts  []hold.Fact
	sealed [][]byte
}

// best is what stands for the most facts.
func (d *documents) best(t fataler) (best hold.SealedFacts) {
	for _, data := range d.sealed {
		s, err := hold.ReadSealedFacts(data)
		if err != nil {
			t.Fatalf("%x: %v", data, err)
		}
		if s.Count() >= best.Count() {
			best = s
		}
	}
	return best
}

// flush stores what was sealed of a pair, and reports whether it had to.
func (d *documents) flush(p *hold.Pair) {
	if data := p.DirtySealed(); data != nil {
		d.sealed = append(d.sealed, data)
	}
	for range p.DirtyPages() {
		break // of no use here, and harmless
	}
	p.ClearDirty()
}

func (d *documents) open(t fataler, policy hold.Policy) *hold.Pair {
	p := d.best(t).Pair(policy, slices.Values(d.facts))
	if data := p.DirtySealed(); data != nil {
		t.Fatalf("what was sealed of a pair just opened is dirty: %x", data)
	}
	return p
}

// remove removes some of the facts that are stood for.
func (d *documents) remove(t fataler, random func(int64) int64) {
	best := d.best(t)
	d.facts = slices.DeleteFunc(d.facts, func(f hold.Fact) bool { return best.Covers(&f) && random(3) > 0 })
}

// TestSealedFactsAgreeWithTheModel: owners of a pair come and go, whose store keeps
// facts. Each seals when it likes, and some are lost with what they did not store;
// facts that are stood for are removed, some at a time. Whatever is left, the pair that
// is opened from it is the one that was never sealed: what it admits, its figures as
// of the horizon and later, what waits, and how it goes on.
func TestSealedFactsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	removed, reopened := 0, 0
	check := func(t *rapid.T) {
		policy, events, random := genPolicy(t), genEvents(t), drawn(t)
		m, never, store := newModel(policy), hold.NewPair(policy), &documents{}
		// The second is an owner who is lost: it goes on beside the first one, as long
		// as nobody knows, and what it stores counts all the same.
		owners := [2]*hold.Pair{hold.NewPair(policy), hold.NewPair(policy)}
		horizon := int64(0)
		for i, e := range events {
			f := e.Fact()
			if i > len(events)/3 && (horizon == 0 || random(20) == 0) {
				horizon += 1 + random(8)
			}
			for n, p := range owners {
				if horizon == 0 || random(3) > 0 {
					continue
				}
				at := 1 + random(14)
				if at < p.Sealed().Last {
					at = hold.MaxTime
				}
				before := p.Figures(at)
				p.Seal(horizon, at)
				if after := p.Figures(at); after != before {
					t.Fatalf("owner %d: sealing to %d changed the figures of %d:\n%+v, were\n%+v", n, horizon, at, after, before)
				}
			}
			if horizon > 0 {
				want := m.admits(f, horizon)
				for n, p := range owners {
					if err := p.Admits(&f, horizon); (err == nil) != want || err != nil && !errors.Is(err, hold.ErrSealed) {
						t.Fatalf("owner %d, horizon %d: %+v: %v, want admitted: %v", n, horizon, f, err, want)
					}
				}
				if !want {
					continue
				}
			}
			added := m.add(f)
			never.Add(f)
			for n, p := range owners {
				if got := p.Add(f); got != added {
					t.Fatalf("owner %d: add %+v: %v, want %v", n, f, got, added)
				}
			}
			if added {
				store.facts = append(store.facts, f)
			}
			switch random(8) {
			case 0, 1:
				store.flush(owners[random(2)])
			case 2:
				before := len(store.facts)
				store.remove(t, random)
				removed += before - len(store.facts)
			case 3:
				owners[random(2)] = store.open(t, policy)
				reopened++
			}
		}
		store.flush(owners[0])
		store.remove(t, random)
		s := m.state()
		for n, p := range append(owners[:], store.open(t, policy)) {
			if p.Waiting() != s.waiting {
				t.Fatalf("owner %d: %d waiting, want %d", n, p.Waiting(), s.waiting)
			}
			if sealed := p.Sealed(); uint64(p.Len())+sealed.Facts != uint64(never.Len()) {
				t.Fatalf("owner %d: %d facts and %d sealed, of %d", n, p.Len(), sealed.Facts, never.Len())
			}
			for _, at := range sampleTimes(s, 40, random) {
				if at < horizon {
					continue
				}
				v := realView{p}
				if got, want := v.live(at), s.live(at); !got.equal(want) {
					t.Fatalf("owner %d: live at %d: %v, want %v", n, at, got, want)
				}
				if got, want := v.settledAt(at), s.settledAt(at); !got.equal(want) {
					t.Fatalf("owner %d: settled at %d: %v, want %v", n, at, got, want)
				}
				if got, want := p.Figures(at), never.Figures(at); got != want {
					t.Fatalf("owner %d: figures at %d: %+v, want %+v", n, at, got, want)
				}
			}
		}
	}
	// Few histories have facts to remove, so there may be none among those of one round.
	for range 20 {
		if rapid.Check(t, check); t.Failed() || removed > 0 && reopened > 0 {
			break
		}
	}
	if removed == 0 || reopened == 0 {
		t.Errorf("%d facts were removed, %d pairs opened", removed, reopened)
	}
}

// What is stored, and the pair that it comes to with any of the facts that it stands
// for, are the same in however many steps was sealed.
func TestSealedFactsInSteps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events, random := genPolicy(t), genEvents(t), drawn(t)
		steps, once := hold.NewPair(policy), hold.NewPair(policy)
		store := &documents{}
		for _, e := range events {
			if steps.Add(e.Fact()) {
				store.facts = append(store.facts, e.Fact())
			}
			once.Add(e.Fact())
		}
		last := int64(0)
		for range 3 {
			last += random(6)
			steps.Seal(last, hold.MaxTime)
			if random(2) == 0 {
				store.flush(steps)
				store.remove(t, random)
				steps = store.open(t, policy)
			}
		}
		store.flush(steps)
		once.Seal(last, hold.MaxTime)
		want := once.DirtySealed()
		if n := len(store.sealed); n == 0 && want != nil || n > 0 && string(store.sealed[n-1]) != string(want) {
			t.Fatalf("sealed to %d: %x, want %x", last, store.sealed, want)
		}
		opened := store.open(t, policy)
		if got, want := slices.Collect(opened.Facts()), slices.Collect(once.Facts()); !slices.Equal(got, want) {
			t.Fatalf("opened with %v, want %v", got, want)
		}
		for _, f := range store.facts {
			s, _ := hold.ReadSealedFacts(want)
			if kept := slices.Contains(slices.Collect(once.Facts()), f); kept == s.Covers(&f) {
				t.Fatalf("%+v is kept: %v, and stood for: %v", f, kept, !kept)
			}
		}
	})
}

// Two hold_ids which have one FNV-1a hash, by which the timeline orders them, are two
// for sealing: an event must not be refused because of an id that collides with its own.
func TestSealedFactsOfOneHash(t *testing.T) {
	t.Parallel()
	const one, other = "8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"
	for name, last := range map[string]hold.Fact{
		"open":      {Kind: hold.KindHold, HoldID: other, Start: 50},
		"retracted": {Kind: hold.KindRetractHold, HoldID: other},
		"waits":     {Kind: hold.KindStop, HoldID: other, End: 70},
	} {
		store := &documents{facts: []hold.Fact{{Kind: hold.KindHold, HoldID: one, Start: 10, End: 20}, last}}
		p := hold.PairFromFacts(hold.Merge, slices.Values(store.facts))
		if !p.Seal(40, 60) || p.Len() != 1 {
			t.Fatalf("%s: %d facts are left", name, p.Len())
		}
		store.flush(p)
		alone := hold.PairFromFacts(hold.Merge, slices.Values(store.facts[:1]))
		alone.Seal(40, 60)
		if err := alone.Admits(&hold.Fact{Kind: hold.KindHold, HoldID: other, Start: 50}, 40); err != nil {
			t.Errorf("%s: a hold that was never known: %v", name, err)
		}
		q := store.open(t, hold.Merge)
		if q.Len() != 1 || q.Sealed() != p.Sealed() || q.Waiting() != p.Waiting() || q.Figures(60) != p.Figures(60) {
			t.Errorf("%s: opened as %d facts, %+v, want 1, %+v", name, q.Len(), q.Sealed(), p.Sealed())
		}
	}
}

func TestDamagedSealedFacts(t *testing.T) {
	t.Parallel()
	p := hold.PairFromFacts(hold.Sum, slices.Values([]hold.Fact{
		{Kind: hold.KindHold, Start: 10, End: 20}, {Kind: hold.KindHold, HoldID: "x", Start: 10, End: 20},
	}))
	p.Seal(30, 30)
	good := p.DirtySealed()
	for n := 1; n < len(good); n++ {
		if _, err := hold.ReadSealedFacts(good[:n]); !errors.Is(err, hold.ErrCorrupt) {
			t.Errorf("%d bytes of it: %v", n, err)
		}
	}
	if _, err := hold.ReadSealedFacts(append(slices.Clone(good), 0)); !errors.Is(err, hold.ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	if s, err := hold.ReadSealedFacts(nil); err != nil || s.Count() != 0 || s.Covers(&hold.Fact{Start: 1}) {
		t.Errorf("nothing: %v", err)
	}
}

func FuzzReadSealedFacts(f *testing.F) {
	p := hold.NewPair(hold.Sum)
	for i := range int64(3) {
		p.Add(hold.Fact{Kind: hold.KindHold, HoldID: fmt.Sprint(i), Start: 10, End: 20})
	}
	p.Seal(30, 30)
	f.Add(p.DirtySealed())
	f.Add([]byte{1, 20, 0, 2, 1, 'a', 1, 'b', 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := hold.ReadSealedFacts(data)
		if err != nil && !errors.Is(err, hold.ErrCorrupt) {
			t.Fatal(err)
		}
		if err == nil {
			s.Pair(hold.Merge, slices.Values([]hold.Fact{{Kind: hold.KindHold, Start: 10, End: 20}})).Figures(hold.MaxTime)
		}
	})
}
