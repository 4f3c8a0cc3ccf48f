package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

func testEmpty(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx := context.Background()
	if err := s.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	compare(t, s, newWriter(3))
	_, err := s.Holder(ctx, 3, "nobody")
	wantError(t, "holder", err, projection.ErrNotFound)
	records, err := s.Load(ctx, 3, []projection.PairKey{{Holder: "a", Token: "b"}})
	if err != nil || len(records) != 1 || records[0] != nil {
		t.Errorf("load of an absent pair: %v, %v", records, err)
	}
	holders, err := s.LoadHolders(ctx, 3, []string{"a", "b"})
	if err != nil || len(holders) != 2 || holders[0] != nil || holders[1] != nil {
		t.Errorf("load of absent holders: %v, %v", holders, err)
	}
	if records, err := s.Load(ctx, 3, nil); err != nil || len(records) != 0 {
		t.Errorf("load of nothing: %v, %v", records, err)
	}
}

func testLoadInOrder(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	for _, id := range []string{"m", "c", "x", "a"} {
		w.add(id, "token", ended(1, 2))
		w.add(id, "other", opening(1))
	}
	mustFlush(t, s, w)
	keys := []projection.PairKey{
		{Holder: "x", Token: "token"}, {Holder: "b", Token: "token"}, {Holder: "a", Token: "token"},
		{Holder: "zz", Token: "token"}, {Holder: "m", Token: "other"}, {Holder: "m", Token: "none"},
		{Holder: "x", Token: "token"}, // twice in one call
	}
	records, err := s.Load(context.Background(), 0, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if _, known := w.pairs[keys[i]]; known != (r != nil) {
			t.Errorf("place %d, %v: got %v, known %v", i, keys[i], r, known)
		} else if known && r.Key != keys[i] {
			t.Errorf("place %d has %v, want %v", i, r.Key, keys[i])
		} else if known {
			comparePair(t, r, w)
		}
	}
}

func testReopen(t *testing.T, h Harness) {
	s := h.Open(t)
	w := newWriter(7)
	w.add("holder", "token", opening(10))
	w.add("holder", "token", stop(20))
	w.at.Rejected = 5
	mustFlush(t, s, w)
	if err := s.SetMeta(context.Background(), map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = h.opened(t)
	compare(t, s, w)
	w.add("holder", "token", ended(30, 40))
	mustFlush(t, s, w)
	compare(t, s, w)
	if m, err := s.Meta(context.Background()); err != nil || m["a"] != "1" {
		t.Errorf("meta: %v, %v", m, err)
	}
}

func testPagesComeAndGo(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	for i := range int64(3000) {
		// Out of order, so that pages in the middle change and split; some by id.
		n := i * 7919 % 3000
		f := ended(10*n, 10*n+15)
		if i%300 == 0 {
			f.HoldID, f.Revision = fmt.Sprintf("lot-%d", i), 1
		}
		w.add("whale", "token", f)
		w.add("minnow", fmt.Sprintf("token-%d", i%5), f)
		if i%100 == 99 {
			mustFlush(t, s, w)
		}
		if i%1000 == 999 {
			compare(t, s, w)
		}
	}
	h.compareAll(t, s, w)
}

// A store that reads pages hands out the root of a large pair, and one page for
// one that is asked for; in a view they are those of the view.
func testLargePair(t *testing.T, h Harness) {
	s := h.opened(t)
	if !s.Capabilities().ReadsPages {
		t.Skip("the store does not read single pages")
	}
	ctx := context.Background()
	w := newWriter(5)
	add := func(from, to int64) {
		for i := from; i < to; i++ {
			n := i * 7919 % 5000
			f := ended(10*n, 10*n+15)
			if i%50 == 0 {
				f.HoldID, f.Revision = fmt.Sprintf("lot-%d", i), 1
			}
			w.add("whale", "token", f)
			w.add("whale", "a", f)
			w.add("whalf", "token", f)
		}
	}
	add(0, 3000)
	w.add("whale", "tokem", opening(1))
	w.add("whale", "tokenn", opening(1))
	mustFlush(t, s, w)
	compare(t, s, w)

	key := projection.PairKey{Holder: "whale", Token: "token"}
	load := func() *hold.Pair {
		records, err := s.Load(ctx, 5, []projection.PairKey{key})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(records[0].Pages); n != 1 {
			t.Fatalf("%d pages of a large pair are loaded, want its root", n)
		}
		p, err := records[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	old := load()
	figures := func(p *hold.Pair) [2]hold.Amount {
		return [2]hold.Amount{p.LiveAt(second(20_000)), p.SettledAt(second(20_000))}
	}
	want := figures(w.pairs[key])

	for _, prefix := range []string{"i", "n"} {
		var last string
		n, leftmost := 0, prefix == "i"
		if err := s.Pages(ctx, 5, key, []byte(prefix), func(page hold.Page) bool {
			n++
			if prefix == "i" && string(page.Key) <= last || page.Key[0] != prefix[0] {
				t.Errorf("page %q after %q", page.Key, last)
			}
			last = string(page.Key)
			leftmost = leftmost || last == "n\x00" // the first leaf, whose key goes on with a zero
			one, err := s.Page(ctx, 5, key, page.Key)
			if err != nil || !bytes.Equal(one, page.Data) {
				t.Errorf("page %q is %x, %v, want %x", page.Key, one, err, page.Data)
			}
			return true
		}); err != nil || n < 60 || !leftmost {
			t.Errorf("%d pages of prefix %s, the leftmost: %v, %v", n, prefix, leftmost, err)
		}
		n = 0
		if err := s.Pages(ctx, 5, key, []byte(prefix), func(hold.Page) bool { n++; return n < 3 }); err != nil || n != 3 {
			t.Errorf("%d pages of 3, %v", n, err)
		}
	}
	for _, none := range []struct {
		key  projection.PairKey
		page string
	}{{key, "inone"}, {key, "n"}, {projection.PairKey{Holder: "none", Token: "token"}, "ilot-0"}} {
		if data, err := s.Page(ctx, 5, none.key, []byte(none.page)); data != nil || err != nil {
			t.Errorf("page %q of %v is %x, %v, want none", none.page, none.key, data, err)
		}
	}

	v, err := s.View(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	add(3000, 5000)
	mustFlush(t, s, w)
	if err := v.Pairs(ctx, "whale", func(r *projection.PairRecord) error {
		if r.Key != key {
			return nil
		}
		if n := len(r.Pages); n != 1 {
			t.Errorf("%d pages of a large pair are in a view's record, want its root", n)
		}
		p, err := r.Open()
		if err != nil {
			return err
		}
		if got := figures(p); got != want {
			t.Errorf("the view tells %v, want %v", got, want)
		}
		return r.Check(p)
	}); err != nil {
		t.Error(err)
	}
	// One that was opened to be written and was overtaken may see pages of both
	// flushes. It tells what it was asked for, or that it cannot.
	if got := figures(old); got != want && !errors.Is(old.Err(), hold.ErrCorrupt) {
		t.Errorf("a pair that was overtaken tells %v, %v", got, old.Err())
	}
	if got, want := figures(load()), figures(w.pairs[key]); got != want {
		t.Errorf("the pair tells %v, want %v", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	h.compareAll(t, s, w)
}

// A pair whose figures were recomputed, without a new fact.
func testFiguresAlone(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	for i := range int64(500) {
		w.add("holder", "large", ended(10*i, 10*i+5))
	}
	w.add("holder", "small", opening(1))
	mustFlush(t, s, w)
	w.add("holder", "large", ended(0, 5))
	w.add("holder", "small", opening(1))
	b := w.batch()
	if n := len(b.Pairs[0].Facts) + len(b.Pairs[1].Facts) + len(b.Pairs[0].Pages) + len(b.Pairs[1].Pages); n != 0 {
		t.Fatalf("%d facts and pages, want none", n)
	}
	mustFlush(t, s, w)
	h.compareAll(t, s, w)
}

// A flush whose answer was lost is written again; so are facts that are there.
func testFlushTwice(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	w.add("a", "x", ended(1, 5))
	w.add("a", "x", stop(9))
	b := w.batch()
	for range 3 {
		if err := s.Flush(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	w.written(b)
	compare(t, s, w)
	w.add("a", "x", ended(3, 8))
	second := w.batch()
	second.Pairs[0].Facts = append(slices.Clone(b.Pairs[0].Facts), second.Pairs[0].Facts...)
	if err := s.Flush(context.Background(), second); err != nil {
		t.Fatal(err)
	}
	w.written(second)
	h.compareAll(t, s, w)
}

func testEpochGuard(t *testing.T, h Harness) {
	s := h.Open(t)
	ctx := context.Background()
	w := newWriter(2)
	w.at.Epoch = 5
	w.add("a", "x", ended(1, 5))
	mustFlush(t, s, w)
	w.add("a", "x", ended(7, 9)) // the same epoch
	mustFlush(t, s, w)

	refused := func(s projection.Store) {
		t.Helper()
		old := newWriter(2)
		old.at.Epoch, old.at.Position = 4, 100
		old.add("a", "x", ended(100, 200))
		old.add("b", "y", ended(100, 200))
		err := old.flush(ctx, s)
		wantError(t, "flush of an older epoch", err, projection.ErrFenced)
		var fenced *projection.FencedError
		if !errors.As(err, &fenced) || fenced.Partition != 2 || fenced.Stored != 5 || fenced.Mine != 4 {
			t.Errorf("error is %#v", err)
		}
		compareGuarded(t, s, w)
	}
	refused(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = h.opened(t)
	refused(s)
	w.at.Epoch = 9
	w.add("c", "z", opening(3))
	mustFlush(t, s, w)
	compare(t, s, w)
	other := newWriter(3) // another partition, not guarded by this one
	other.add("a", "x", opening(1))
	mustFlush(t, s, other)
	compare(t, s, other)
}

// compareGuarded compares figures and checkpoint: what an older owner must not
// change. Facts of it that are in the log may be in the store.
func compareGuarded(t *testing.T, s projection.Store, w *writer) {
	t.Helper()
	ctx := context.Background()
	if got, ok, err := s.Checkpoint(ctx, w.partition); err != nil || !ok || got != w.at {
		t.Errorf("checkpoint is %+v, %v, %v, want %+v", got, ok, err, w.at)
	}
	for name, want := range w.holders {
		if got, err := s.Holder(ctx, w.partition, name); err != nil || *got != want {
			t.Errorf("holder %q is %+v, %v, want %+v", name, got, err, want)
		}
		if err := s.HolderPairs(ctx, w.partition, name, func(k projection.PairKey, f hold.Figures) error {
			if f != w.figures[k] {
				t.Errorf("figures of %v are %+v, want %+v", k, f, w.figures[k])
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Holder(ctx, w.partition, "b"); !errors.Is(err, projection.ErrNotFound) {
		t.Errorf("the refused batch left a holder: %v", err)
	}
}

func testChangedSince(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(1)
	names := []string{"d", "b", "a", "c"}
	positions := map[string]uint64{}
	for round := range 3 {
		for i, name := range names[round:] {
			w.add(name, "token", ended(int64(round), int64(round+i+1)))
			mustFlush(t, s, w)
			positions[name] = w.at.Position
		}
	}
	for since := range w.at.Position + 2 {
		var want []string
		for name, position := range positions {
			if position > since {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got := changedSince(t, s, 1, since); !slices.Equal(got, want) {
			t.Errorf("changed since %d: %q, want %q", since, got, want)
		}
	}
}

func testHolderPairs(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(1)
	for i := range int64(400) {
		w.add("b", "large", ended(3*i, 3*i+2))
	}
	for i := range int64(40) {
		w.add("b", fmt.Sprintf("token-%02d", i), opening(i))
	}
	w.add("a", "large", opening(1))
	w.add("c", "large", opening(1))
	mustFlush(t, s, w)
	h.compareAll(t, s, w)
}

func testMeta(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx := context.Background()
	if m, err := s.Meta(ctx); err != nil || len(m) != 0 {
		t.Fatalf("meta of a new store: %v, %v", m, err)
	}
	set := func(values map[string]string) error { return s.SetMeta(ctx, values) }
	if err := set(map[string]string{projection.MetaPolicy: "merge", projection.MetaPartitions: "16"}); err != nil {
		t.Fatal(err)
	}
	if err := set(map[string]string{projection.MetaPolicy: "merge", projection.MetaLogID: ""}); err != nil {
		t.Fatal(err)
	}
	err := set(map[string]string{projection.MetaPolicy: "sum", "aaa": "new"})
	wantError(t, "change of a fixed value", err, projection.ErrMetaFixed)
	var fixed *projection.MetaError
	if !errors.As(err, &fixed) || fixed.Name != projection.MetaPolicy || fixed.Stored != "merge" || fixed.Wanted != "sum" {
		t.Errorf("error is %#v", err)
	}
	m, err := s.Meta(ctx)
	if err != nil || len(m) != 3 || m[projection.MetaPolicy] != "merge" || m[projection.MetaPartitions] != "16" {
		t.Errorf("meta: %v, %v", m, err)
	}
}
