package hold_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// genIDFact draws a fact of the hold_id a, of few times, weights and revisions.
func genIDFact(t *rapid.T) hold.Fact {
	f := hold.Fact{HoldID: "a", Kind: rapid.SampledFrom([]hold.Kind{hold.KindHold, hold.KindHold, hold.KindStop, hold.KindRetractHold, hold.KindRetractStop}).Draw(t, "kind")}
	f.Revision = rapid.Uint64Range(0, 3).Draw(t, "revision")
	switch f.Kind {
	case hold.KindHold:
		f.Start = rapid.Int64Range(1, 3).Draw(t, "start")
		if rapid.Bool().Draw(t, "ended") {
			f.End = f.Start + rapid.Int64Range(0, 3).Draw(t, "length")
		}
		if rapid.Bool().Draw(t, "weighs") {
			f.HasWeight, f.Weight = true, hold.Weight{rapid.Uint64Range(0, 2).Draw(t, "weight")}
		}
	case hold.KindStop, hold.KindRetractStop:
		f.End = rapid.Int64Range(1, 6).Draw(t, "end")
	}
	return f
}

// What is said to change nothing changes nothing: by what a Standing knows, whatever
// else there is; of a stop, by the pair as it is.
func TestWhatIsOverruledChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := rapid.SliceOfN(rapid.Custom(genIDFact), 0, 8).Draw(t, "facts")
		f := rapid.Custom(genIDFact).Draw(t, "fact")
		known := rapid.IntRange(0, len(facts)).Draw(t, "known")
		var s, some hold.Standing
		for i := range facts[:known] {
			if i%2 == 0 {
				s.Add(&facts[i])
			} else {
				some.Add(&facts[i])
			}
		}
		s.Merge(&some)
		pair := hold.PairFromFacts(hold.Merge, slices.Values(facts))
		before := slices.Collect(pair.Holds())
		after := slices.Collect(hold.PairFromFacts(hold.Merge, slices.Values(append(slices.Clone(facts), f))).Holds())
		same := slices.Equal(before, after)
		why := s.Overruled(&f)
		if why.By != hold.NotOverruled && (!same || why.Now || why.String() == "") {
			t.Fatalf("%+v of %+v: %v, but %v became %v", f, facts[:known], why, before, after)
		}
		stop := hold.StopOverruled(pair, &f)
		if stop.By != hold.NotOverruled && (!same || !stop.Now || stop.String() == "") {
			t.Fatalf("%+v of %+v: %v, but %v became %v", f, facts, stop, before, after)
		}

		// What the pair knows of the id is enough for holds and retracts of lower revisions.
		all := hold.StandingOf(pair, "a")
		for _, o := range facts {
			lower := o.Kind == hold.KindHold && f.Revision < o.Revision && (f.Kind == hold.KindHold || f.Kind == hold.KindRetractHold)
			if lower && all.Overruled(&f).By == hold.NotOverruled {
				t.Fatalf("%+v is not overruled by %+v", f, o)
			}
		}
		if stop.By != hold.NotOverruled && !all.MayOverruleStop(&f) {
			t.Fatalf("%+v of %+v: %v, which the standing does not suspect", f, facts, stop)
		}
		if other := hold.StandingOf(pair, "b"); other != (hold.Standing{}) {
			t.Fatalf("another id stands as %+v", other)
		}
	})
}

// genStopFact draws a hold or a stop, mostly without hold_id.
func genStopFact(t *rapid.T) hold.Fact {
	f := genIDFact(t)
	f.HoldID, f.Revision = rapid.SampledFrom([]string{"", "", "a"}).Draw(t, "id"), 0
	if f.Kind == hold.KindRetractHold && f.HoldID == "" {
		f.Start = 1
	}
	return f
}

// The weight that a stop is said to end is that of a hold which has its end, and which
// is open, or ends otherwise, without the stop.
func TestWhatAStopEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := rapid.SliceOfN(rapid.Custom(genStopFact), 0, 12).Draw(t, "facts")
		stop := hold.Fact{Kind: hold.KindStop, HoldID: rapid.SampledFrom([]string{"", "a"}).Draw(t, "id"), End: rapid.Int64Range(1, 6).Draw(t, "end")}
		policy := rapid.SampledFrom([]hold.Policy{hold.Merge, hold.Sum}).Draw(t, "policy")
		pair := hold.PairFromFacts(policy, slices.Values(facts))
		isNew := pair.Add(stop)
		weight, ends := hold.StopEnds(pair, &stop)
		var of []hold.Hold
		for h := range pair.Holds() {
			if h.HoldID == stop.HoldID && h.End == stop.End {
				of = append(of, h)
			}
		}
		found := slices.ContainsFunc(of, func(h hold.Hold) bool { return h.Weight == weight })
		if ends && !found {
			t.Fatalf("%+v of %+v ends weight %v, but the holds of that end are %v", stop, facts, weight, of)
		}
		if !ends && isNew {
			before := slices.Collect(hold.PairFromFacts(policy, slices.Values(facts)).Holds())
			if after := slices.Collect(pair.Holds()); !slices.Equal(before, after) {
				t.Fatalf("%+v of %+v is said to end nothing, but %v became %v", stop, facts, before, after)
			}
		}
	})
}
