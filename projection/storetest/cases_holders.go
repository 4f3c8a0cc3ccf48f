package storetest

import (
	"slices"
	"testing"

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
