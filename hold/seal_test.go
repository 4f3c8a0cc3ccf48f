package hold_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// kept is a pair with its pages, as a processor has it: they are written by flushes
// that are under way for a while, and read again when the pair is reopened.
type kept struct {
	*hold.Pair
	there   stored // what can be read
	written stored // what the flushes come to, with the one that is under way
}

func newKept(policy hold.Policy) *kept {
	return &kept{hold.NewPair(policy), stored{}, stored{}}
}

func (k *kept) flush(t fataler) {
	k.land()
	if wrong := k.written.flush(k.Pair); wrong != "" {
		t.Fatalf("%s", wrong)
	}
}

func (k *kept) land() { clear(k.there); maps.Copy(k.there, k.written) }

func (k *kept) reopen(t fataler) {
	k.flush(t)
	k.land()
	p, err := k.there.open(k.Policy())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for page := range p.DirtyPages() {
		t.Fatalf("page %x is dirty in a pair just opened", page.Key)
	}
	if p.Sealed() != k.Sealed() {
		t.Fatalf("opened as %+v, stored as %+v", p.Sealed(), k.Sealed())
	}
	k.Pair = p
}

func (k *kept) trim(free int, stored bool) {
	if stored {
		k.land()
	}
	k.ReadFrom(k.there)
	k.Trim(free, stored)
}

// TestSealedAgreesWithTheModel: seal at any moment, and every figure as of the
// horizon and later is what it would be, whatever is said afterwards; and what may be
// said does not depend on whether the pair was sealed.
func TestSealedAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	seals := 0
	rapid.Check(t, func(t *rapid.T) {
		policy, events, random := genPolicy(t), genEvents(t), drawn(t)
		m, never, p := newModel(policy), hold.NewPair(policy), newKept(policy)
		horizon := int64(0)
		for i, e := range events {
			f := e.Fact()
			if i > len(events)/3 && (horizon == 0 || random(20) == 0) {
				horizon += 1 + random(8)
			}
			if horizon > 0 && random(3) == 0 {
				at := 1 + random(14)
				if at < p.Sealed().Last {
					at = hold.MaxTime
				}
				before := p.Figures(at)
				if p.Seal(horizon, at) {
					seals++
				}
				if after := p.Figures(at); after != before {
					t.Fatalf("sealing to %d changed the figures of %d:\n%+v, were\n%+v", horizon, at, after, before)
				}
				if p.Seal(horizon, at) {
					t.Fatalf("sealed to %d twice", horizon)
				}
				if s := p.Sealed(); s.Last > horizon {
					t.Fatalf("sealed to %d: %+v", horizon, s)
				}
			}
			if horizon > 0 {
				want := m.admits(f, horizon)
				for name, q := range map[string]*hold.Pair{"sealed": p.Pair, "never sealed": never} {
					if err := q.Admits(&f, horizon); (err == nil) != want || err != nil && !errors.Is(err, hold.ErrSealed) {
						t.Fatalf("%s, horizon %d: %+v: %v, want admitted: %v", name, horizon, f, err, want)
					}
				}
				if !want {
					continue
				}
				if err := f.SealedError(horizon); err != nil {
					t.Fatalf("%+v is admitted, and refused by Check: %v", f, err)
				}
			}
			if got, want := p.Add(f), m.add(f); got != want {
				t.Fatalf("add %+v: %v, want %v", f, got, want)
			}
			never.Add(f)
			switch random(8) {
			case 0:
				p.flush(t)
			case 1:
				p.reopen(t)
			}
		}
		s := m.state()
		if p.Waiting() != s.waiting || never.Waiting() != s.waiting {
			t.Fatalf("waiting: %d and %d, want %d", p.Waiting(), never.Waiting(), s.waiting)
		}
		if got := (realView{p.Pair}).settled(); !got.equal(s.settled()) {
			t.Fatalf("settled: %v, want %v", got, s.settled())
		}
		for _, at := range sampleTimes(s, 40, random) {
			if at < horizon {
				continue
			}
			v := realView{p.Pair}
			if got, want := v.live(at), s.live(at); !got.equal(want) {
				t.Fatalf("live at %d: %v, want %v", at, got, want)
			}
			if got, want := v.settledAt(at), s.settledAt(at); !got.equal(want) {
				t.Fatalf("settled at %d: %v, want %v", at, got, want)
			}
			if got, want := p.Figures(at), never.Figures(at); got != want {
				t.Fatalf("figures at %d: %+v, want %+v", at, got, want)
			}
		}
		p.reopen(t)
		if got, want := p.Figures(hold.MaxTime), never.Figures(hold.MaxTime); got != want {
			t.Fatalf("stored: %+v, want %+v", got, want)
		}
	})
	if seals == 0 {
		t.Error("nothing was ever sealed")
	}
}

// TestSealedInSteps: sealing up to one horizon after the other, or up to the last one
// at once, with the same facts, leaves the same pages.
func TestSealedInSteps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events, random := genPolicy(t), genEvents(t), drawn(t)
		steps, once := newKept(policy), newKept(policy)
		for _, e := range events {
			steps.Add(e.Fact())
			once.Add(e.Fact())
		}
		last := int64(0)
		for range 3 {
			last += random(6)
			steps.Seal(last, hold.MaxTime)
			if random(2) == 0 {
				steps.reopen(t)
			}
		}
		once.Seal(last, hold.MaxTime)
		steps.flush(t)
		once.flush(t)
		if !steps.written.equal(once.written) {
			t.Fatalf("sealed to %d: %s", last, steps.written.difference(once.written))
		}
	})
}

// TestSealedLargePairs: pairs of several pages, which are read and dropped from
// memory one by one, beside pairs that are never sealed.
func TestSealedLargePairs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, random := genPolicy(t), drawn(t)
		n := int(200 + random(600))
		scenario := largeScenarios[random(int64(len(largeScenarios)))]
		random = seeded(uint64(random(1 << 30)))
		events := scenario.events(n, random)
		never, p := hold.NewPair(policy), newKept(policy)
		horizon, refused := int64(0), 0
		for i, e := range events {
			f := e.Fact()
			if i > n/4 && random(100) == 0 {
				// About where the history ends so far.
				horizon = max(horizon, e.Start, e.End-random(100))
			}
			if horizon > 0 && random(20) == 0 {
				p.Seal(horizon, hold.MaxTime)
			}
			if horizon > 0 {
				got, want := p.Admits(&f, horizon), never.Admits(&f, horizon)
				if (got == nil) != (want == nil) {
					t.Fatalf("%s, horizon %d: %+v: sealed %v, never sealed %v", scenario.name, horizon, f, got, want)
				}
				if want != nil {
					refused++
					continue
				}
			}
			if got, want := p.Add(f), never.Add(f); got != want {
				t.Fatalf("add %+v: %v, want %v", f, got, want)
			}
			switch random(40) {
			case 0:
				p.flush(t)
			case 1:
				p.reopen(t)
			case 2, 3:
				p.trim(int(random(30_000)), random(2) == 0)
			}
			if err := p.Err(); err != nil {
				t.Fatalf("%s: %v", scenario.name, err)
			}
		}
		p.Seal(horizon, hold.MaxTime)
		for _, again := range []bool{false, true} {
			if again {
				p.reopen(t)
			}
			for range 20 {
				at := max(horizon, 1) + random(int64(8*n))
				if got, want := p.Figures(at), never.Figures(at); got != want {
					t.Fatalf("%s, %d refused: figures at %d: %+v, want %+v", scenario.name, refused, at, got, want)
				}
				if got, want := p.SettledAt(at), never.SettledAt(at); got != want {
					t.Fatalf("%s: settled at %d: %+v, want %+v", scenario.name, at, got, want)
				}
			}
		}
		facts := 0
		for range p.Facts() {
			facts++
		}
		if s := p.Sealed(); uint64(facts)+s.Facts != uint64(never.Len()) || facts != p.Len() {
			t.Fatalf("%d facts and %d sealed, of %d", facts, s.Facts, never.Len())
		}
	})
}

// What each rule of the horizon is for, by example.
func TestAdmits(t *testing.T) {
	t.Parallel()
	const horizon = 100
	w := func(n uint64) hold.Weight { return hold.Weight{n} }
	ended := func(start, end int64) hold.Fact { return hold.Fact{Kind: hold.KindHold, Start: start, End: end} }
	history := []hold.Fact{
		ended(10, 20), // over long ago
		{Kind: hold.KindHold, Start: 50, HasWeight: true, Weight: w(5)}, // open still
		{Kind: hold.KindHold, HoldID: "past", Start: 10, End: 20},
		{Kind: hold.KindHold, HoldID: "open", Start: 60},
		{Kind: hold.KindHold, HoldID: "gone", Start: 10, End: 20},
		{Kind: hold.KindRetractHold, HoldID: "gone"},
	}
	for name, c := range map[string]struct {
		fact hold.Fact
		want bool
	}{
		"a hold behind the horizon":                {ended(100, 130), true},
		"a hold before it":                         {ended(30, 40), false},
		"the same hold again":                      {ended(10, 20), false},
		"a hold across it":                         {ended(70, 130), false},
		"an open hold from before":                 {hold.Fact{Kind: hold.KindHold, Start: 70}, false},
		"the end of an open hold":                  {hold.Fact{Kind: hold.KindHold, Start: 50, End: 130, HasWeight: true, Weight: w(5)}, true},
		"its end, of another weight":               {hold.Fact{Kind: hold.KindHold, Start: 50, End: 130, HasWeight: true, Weight: w(6)}, false},
		"its end, of no weight":                    {ended(50, 130), true},
		"its end, before the horizon":              {hold.Fact{Kind: hold.KindHold, Start: 50, End: 90, HasWeight: true, Weight: w(5)}, false},
		"its retract":                              {hold.Fact{Kind: hold.KindRetractHold, Start: 50, HasWeight: true, Weight: w(5)}, false},
		"a stop behind the horizon":                {hold.Fact{Kind: hold.KindStop, End: 101}, true},
		"a stop at it":                             {hold.Fact{Kind: hold.KindStop, End: 100}, false},
		"the retract of a stop behind it":          {hold.Fact{Kind: hold.KindRetractStop, End: 120}, true},
		"a hold_id whose hold is over":             {hold.Fact{Kind: hold.KindHold, HoldID: "past", Revision: 1, Start: 110}, false},
		"its retract by id":                        {hold.Fact{Kind: hold.KindRetractHold, HoldID: "past", Revision: 1}, false},
		"the end of an open hold by id":            {hold.Fact{Kind: hold.KindStop, HoldID: "open", End: 130}, true},
		"its end, as another revision":             {hold.Fact{Kind: hold.KindHold, HoldID: "open", Revision: 1, Start: 60, End: 130}, true},
		"another start for it":                     {hold.Fact{Kind: hold.KindHold, HoldID: "open", Revision: 1, Start: 61, End: 130}, false},
		"the retract of what is open":              {hold.Fact{Kind: hold.KindRetractHold, HoldID: "open"}, false},
		"a new hold_id from before":                {hold.Fact{Kind: hold.KindHold, HoldID: "new", Start: 70, End: 130}, false},
		"a new hold_id":                            {hold.Fact{Kind: hold.KindHold, HoldID: "new", Start: 100}, true},
		"a hold_id that had been retracted":        {hold.Fact{Kind: hold.KindHold, HoldID: "gone", Revision: 1, Start: 110}, true},
		"a hold_id that had been retracted, again": {hold.Fact{Kind: hold.KindHold, HoldID: "gone", Start: 110}, true},
	} {
		for _, seal := range []bool{false, true} {
			p := hold.PairFromFacts(hold.Merge, slices.Values(history))
			if seal && (!p.Seal(horizon, 200) || p.Sealed().Last != 20 || p.Sealed().Facts != 2) {
				t.Fatalf("sealed: %+v", p.Sealed())
			}
			if err := p.Admits(&c.fact, horizon); (err == nil) != c.want {
				t.Errorf("%s, sealed %v: %v", name, seal, err)
			}
		}
	}
}
