package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// removeAll has the store remove what it can, where it keeps facts.
func removeAll(t reporter, s projection.Store, partition int) {
	t.Helper()
	if !s.Capabilities().RemovesSealed {
		return
	}
	for calls := 0; ; calls++ {
		more, err := s.RemoveSealed(context.Background(), partition)
		if err != nil || calls > 1000 {
			t.Fatalf("remove: %v, after %d calls", err, calls)
		}
		if !more {
			return
		}
	}
}

func testKeysAfter(t *testing.T, h Harness) {
	s := h.opened(t)
	keysAfter := s.KeysAfter
	ctx := context.Background()
	if keys, err := keysAfter(ctx, 1, projection.PairKey{}, 10); err != nil || len(keys) != 0 {
		t.Errorf("keys of nothing: %v, %v", keys, err)
	}
	w, other := newWriter(1), newWriter(11)
	for _, holder := range []string{"b", "a", "a b", "ab", "é"} {
		for _, token := range []string{"t", "t t", "tt", "s"} {
			w.add(holder, token, ended(1, 2))
		}
	}
	for i := range int64(3000) { // so that one has many pages
		w.add("ab", "t", ended(10*i, 10*i+5))
	}
	other.add("a", "u", ended(1, 2))
	mustFlush(t, s, w)
	mustFlush(t, s, other)
	var want []projection.PairKey
	for key := range w.pairs {
		want = append(want, key)
	}
	slices.SortFunc(want, projection.PairKey.Compare)
	for _, most := range []int{1, 3, 20, 100} {
		var got []projection.PairKey
		for after := (projection.PairKey{}); ; after = got[len(got)-1] {
			keys, err := keysAfter(ctx, 1, after, most)
			if err != nil || len(keys) > most {
				t.Fatalf("%d keys after %v: %v, %v", most, after, keys, err)
			}
			if len(keys) == 0 {
				break
			}
			got = append(got, keys...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("keys, %d at a time: %v, want %v", most, got, want)
		}
	}
	if keys, err := keysAfter(ctx, 1, projection.PairKey{Holder: "aa", Token: "zz"}, 1); err != nil || len(keys) != 1 || keys[0] != (projection.PairKey{Holder: "ab", Token: "s"}) {
		t.Errorf("keys after one that is not there: %v, %v", keys, err)
	}
}

// A partition with pairs of all sizes: without hold_ids and with them, with what waits.
func sealable(w *writer) {
	for i := range int64(300) {
		f := ended(10*i, 10*i+7)
		w.add("whale", "t", f)
		if i < 40 {
			w.add(fmt.Sprint("minnow-", i%3), "t", f)
			f.HoldID, f.Revision = fmt.Sprint("lot-", i), 1
			w.add(fmt.Sprint("minnow-", i%3), "ids", f)
		}
	}
	for i := range int64(1500) {
		w.add("leviathan", "t", ended(2*i, 2*i+1))
	}
	w.add("minnow-0", "t", stop(3))
	w.add("minnow-1", "t", opening(150))
	w.add("minnow-2", "t", opening(150))
	w.add("minnow-2", "t", stop(200))
}

// Pairs are sealed, once and again, and go on; what is stored is what they are, before
// their facts are removed and afterwards, and once the store was opened again.
func testSealed(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(2)
	sealable(w)
	mustFlush(t, s, w)
	for round, horizon := range []int64{second(100), second(200), second(1000)} {
		if n := w.seal(horizon); n == 0 {
			t.Fatalf("nothing was sealed up to %d", horizon)
		}
		late := 3100 + int64(10*round)
		w.add("whale", "t", ended(late, late+5))
		w.add("minnow-0", "t", ended(late, late+5))
		w.add("minnow-0", "new", ended(late, late+5))
		mustFlush(t, s, w)
		compare(t, s, w)
		if round != 1 {
			removeAll(t, s, 2)
			compare(t, s, w)
		}
	}
	w.at.Swept = w.at.Horizon
	w.add("minnow-1", "t", stop(3200))
	mustFlush(t, s, w)
	removeAll(t, s, 2)
	h.compareAll(t, s, w)
}

// What is sealed when nothing has happened since the last flush is stored all the
// same, also by a flush that comes twice.
func testSealedWithoutEvent(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(2)
	sealable(w)
	mustFlush(t, s, w)
	for _, horizon := range []int64{second(100), second(200)} {
		w.seal(horizon)
		w.at.Swept = horizon
		b := w.batch()
		for range 2 {
			if err := s.Flush(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		w.written(b)
		compare(t, s, w)
		removeAll(t, s, 2)
		compare(t, s, w)
	}
	h.compareAll(t, s, w)
}

// A view shows what was there when it was opened, or says that it cannot any more.
func testViewOfSealed(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx := context.Background()
	w := newWriter(2)
	sealable(w)
	mustFlush(t, s, w)
	type shown struct {
		facts   int
		figures hold.Figures
	}
	then := map[projection.PairKey]shown{}
	for key, p := range w.pairs {
		then[key] = shown{p.Len(), w.figures[key]}
	}
	at := w.at.LogTime
	v, err := s.View(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	look := func(when string, may bool) {
		t.Helper()
		outdated := 0
		for key := range then {
			err := v.Pairs(ctx, key.Holder, func(r *projection.PairRecord) error {
				p, err := r.Open()
				if err != nil {
					return err
				}
				if want := then[r.Key]; p.Len() != want.facts || p.Sealed().Facts != 0 || r.Figures != want.figures || p.Figures(at) != want.figures {
					t.Errorf("%s: %v has %d facts, %+v, figures %+v, want %+v", when, r.Key, p.Len(), p.Sealed(), r.Figures, want)
				}
				return r.Check(p)
			})
			switch {
			case err == nil:
			case may && errors.Is(err, projection.ErrOutdated):
				outdated++
			default:
				t.Fatalf("%s: %v", when, err)
			}
		}
		t.Logf("%s: %d outdated", when, outdated)
	}
	look("before", false)
	w.seal(second(1000))
	w.add("another", "t", ended(1, 2))
	mustFlush(t, s, w)
	look("sealed", true) // a store may have begun to remove
	removeAll(t, s, 2)
	look("removed", true)
	compare(t, s, w)
}
