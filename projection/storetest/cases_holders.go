package storetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/projection"
)

// testHolders walks from every place, also from holders that are not there and
// from such as begin like another one.
func testHolders(t *testing.T, h Harness) {
	s := h.opened(t)
	w, other := newWriter(3), newWriter(4)
	names := []string{"a", "a b", "a-b", "ab", "b", "ba", "é", "日本"}
	for i, name := range names {
		w.add(name, "token", ended(int64(i), int64(2*i+1)))
		other.add(name+"!", "token", opening(1))
	}
	mustFlush(t, s, w)
	mustFlush(t, s, other)
	for _, after := range append([]string{"", "0", "a c", "aa", "c", "z", "日", "日本人"}, names...) {
		var got, want []string
		for _, name := range names {
			if after == "" || name > after {
				want = append(want, name)
			}
		}
		err := s.Holders(t.Context(), 3, after, func(r *projection.HolderRecord) error {
			got = append(got, r.Holder)
			whole, err := s.Holder(t.Context(), 3, r.Holder)
			if err == nil && *whole != *r {
				t.Errorf("walked %+v, read %+v", *r, *whole)
			}
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("behind %q: %q, want %q, %v", after, got, want, err)
		}
	}
	if err := s.Holders(t.Context(), 5, "", func(*projection.HolderRecord) error { t.Error("a holder of an empty partition"); return nil }); err != nil {
		t.Error(err)
	}
}

// testPairsAfter walks in steps of every size, from pairs that are there and from such
// as are not, over large pairs too, and in a view that stands still.
func testPairsAfter(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(2)
	for i, holder := range oddIDs {
		w.add(holder, oddIDs[i/2], ended(int64(i), int64(i+1)))
		w.add(holder, "b", opening(int64(i)))
	}
	for i := range int64(300) {
		w.add("a", "b", ended(1000+10*i, 1005+10*i))
	}
	mustFlush(t, s, w)
	v, err := s.View(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	want := slices.SortedFunc(maps.Keys(w.figures), projection.PairKey.Compare)
	w.add("a", "aa", opening(1)) // between two of the view
	mustFlush(t, s, w)
	for _, most := range []int{1, 2, 7, len(want) - 1, len(want), len(want) + 1} {
		var got []projection.PairKey
		after, more := projection.PairKey{}, true
		for calls := 0; more; calls++ {
			given := 0
			more, err = v.PairsAfter(t.Context(), after, most, func(r *projection.PairRecord) error {
				given++
				after = projection.PairKey{Holder: strings.Clone(r.Key.Holder), Token: strings.Clone(r.Key.Token)}
				got = append(got, after)
				comparePair(t, r, w)
				return nil
			})
			if err != nil || given > most || more && given < most || calls > len(want) {
				t.Fatalf("%d pairs of %d, more %v, %v", given, most, more, err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in steps of %d (-want +got):\n%s", most, cmp.Diff(want, got))
		}
	}
	for _, after := range []projection.PairKey{{Holder: "a"}, {Holder: "a", Token: "b"}, {Holder: "a", Token: "a~"}, {Holder: "ab", Token: "~"}, {Holder: "\U0010ffff", Token: "~"}} {
		at := slices.IndexFunc(want, func(k projection.PairKey) bool { return k.Compare(after) > 0 })
		var got []projection.PairKey
		if _, err := v.PairsAfter(t.Context(), after, 1, func(r *projection.PairRecord) error {
			got = append(got, r.Key)
			return nil
		}); err != nil || at < 0 && len(got) > 0 || at >= 0 && (len(got) != 1 || got[0] != want[at]) {
			t.Errorf("behind %v: %v, %v", after, got, err)
		}
	}
	enough := errors.New("enough")
	if more, err := v.PairsAfter(t.Context(), projection.PairKey{}, 5, func(*projection.PairRecord) error { return enough }); more || err != enough {
		t.Errorf("more %v, %v; want the callback's error", more, err)
	}
}
