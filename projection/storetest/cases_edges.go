package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// oddIDs are prefixes of each other, contain the bytes that stores like to use
// for themselves, or are as long as an id may be.
var oddIDs = []string{
	"a", "ab", "a b", "a.b", "a/b", "a$b", "$a", "a\\b", "a'b", `a"b`, "A", "ä", "日本", "a\u00a0b",
	"\U0010ffff", "=", "==", "_id", "p", "h", "c", "0", "-1", "%00", "*", ">",
	strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("é", 128), strings.Repeat("a", 2),
}

func testOddIDs(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	for i, holder := range oddIDs {
		for j, token := range oddIDs {
			w.add(holder, token, ended(int64(i), int64(i+j+1)))
		}
	}
	mustFlush(t, s, w)
	compare(t, s, w)
	for i, id := range oddIDs {
		w.add(id, oddIDs[len(oddIDs)-1-i], hold.Fact{Kind: hold.KindHold, HoldID: id, Start: second(5), End: second(9)})
	}
	mustFlush(t, s, w)
	h.compareAll(t, s, w)
}

func testPartitions(t *testing.T, h Harness) {
	s := h.opened(t)
	var writers []*writer
	for _, p := range []int{0, 1, 2, 15, 255, 256, 1023} {
		w := newWriter(p)
		w.add("same", "token", ended(0, int64(p+1)))
		w.add(fmt.Sprintf("holder-%d", p), "token", opening(int64(p)))
		mustFlush(t, s, w)
		writers = append(writers, w)
	}
	h.compareAll(t, s, writers...)
}

func testBigBatch(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(4)
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	for i := range n {
		w.add(fmt.Sprintf("0x%040x", i/4), fmt.Sprintf("token-%d", i%4), ended(int64(i), int64(i+100)))
	}
	mustFlush(t, s, w)
	if got := len(changedSince(t, s, 4, 0)); got != n/4 {
		t.Errorf("%d holders, want %d", got, n/4)
	}
	v, err := s.View(context.Background(), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	count := 0
	if err := v.AllPairs(context.Background(), func(r *projection.PairRecord) error {
		count++
		comparePair(t, r, w)
		return nil
	}); err != nil || count != n {
		t.Errorf("%d pairs, %v, want %d", count, err, n)
	}
}

func testCallbackErrors(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx := context.Background()
	w := newWriter(0)
	for _, holder := range []string{"a", "b", "c"} {
		w.add(holder, "x", opening(1))
		w.add(holder, "y", opening(1))
	}
	mustFlush(t, s, w)
	v, err := s.View(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	enough := errors.New("enough")
	calls := 0
	once := func() error {
		calls++
		return enough
	}
	for what, walk := range map[string]func() error{
		"AllPairs": func() error { return v.AllPairs(ctx, func(*projection.PairRecord) error { return once() }) },
		"Pairs":    func() error { return v.Pairs(ctx, "a", func(*projection.PairRecord) error { return once() }) },
		"HolderPairs": func() error {
			return s.HolderPairs(ctx, 0, "a", func(projection.PairKey, hold.Figures) error { return once() })
		},
		"ChangedSince": func() error { return s.ChangedSince(ctx, 0, 0, func(*projection.HolderRecord) error { return once() }) },
		"Holders":      func() error { return s.Holders(ctx, 0, "", func(*projection.HolderRecord) error { return once() }) },
	} {
		calls = 0
		if err := walk(); err != enough || calls != 1 {
			t.Errorf("%s: %v after %d calls, want the callback's error after one", what, err, calls)
		}
	}
}

func testContextEnds(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	w.add("a", "x", opening(1))
	mustFlush(t, s, w)
	v, err := s.View(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	late := newWriter(0)
	late.add("b", "y", opening(2))
	for what, call := range calls(ctx, s, late.batch()) {
		wantError(t, what, call(), context.Canceled)
	}
	wantError(t, "view's Holder", errorOf(v.Holder(ctx, "a")), context.Canceled)
	wantError(t, "AllPairs", v.AllPairs(ctx, func(*projection.PairRecord) error { return nil }), context.Canceled)
	wantError(t, "Pairs", v.Pairs(ctx, "a", func(*projection.PairRecord) error { return nil }), context.Canceled)
	compare(t, s, w)
}

func errorOf[T any](_ T, err error) error { return err }

// calls is every method of a store but Close.
func calls(ctx context.Context, s projection.Store, b *projection.Batch) map[string]func() error {
	return map[string]func() error{
		"View": func() error {
			v, err := s.View(ctx, 0)
			if err == nil {
				err = v.Close()
			}
			return err
		},
		"Holder": func() error { return errorOf(s.Holder(ctx, 0, "a")) },
		"Checkpoint": func() error {
			_, _, err := s.Checkpoint(ctx, 0)
			return err
		},
		"Ping":        func() error { return s.Ping(ctx) },
		"Load":        func() error { return errorOf(s.Load(ctx, 0, []projection.PairKey{{Holder: "a", Token: "x"}})) },
		"LoadHolders": func() error { return errorOf(s.LoadHolders(ctx, 0, []string{"a"})) },
		"HolderPairs": func() error {
			return s.HolderPairs(ctx, 0, "a", func(projection.PairKey, hold.Figures) error { return nil })
		},
		"Flush":        func() error { return s.Flush(ctx, b) },
		"ChangedSince": func() error { return s.ChangedSince(ctx, 0, 0, func(*projection.HolderRecord) error { return nil }) },
		"Holders":      func() error { return s.Holders(ctx, 0, "", func(*projection.HolderRecord) error { return nil }) },
		"Meta":         func() error { return errorOf(s.Meta(ctx)) },
		"SetMeta":      func() error { return s.SetMeta(ctx, map[string]string{"late": "1"}) },
	}
}

func testClosed(t *testing.T, h Harness) {
	s := h.Open(t)
	w := newWriter(0)
	w.add("a", "x", opening(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for what, call := range calls(context.Background(), s, w.batch()) {
		wantError(t, what, call(), projection.ErrClosed)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// A view stands still while the partition goes on.
func testViewStands(t *testing.T, h Harness) {
	s := h.opened(t)
	w := newWriter(0)
	w.add("a", "x", opening(1))
	w.add("b", "x", ended(1, 9))
	mustFlush(t, s, w)
	v, err := s.View(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	then := newWriter(0)
	then.add("a", "x", opening(1))
	then.add("b", "x", ended(1, 9))
	then.written(then.batch())

	w.add("a", "x", stop(5))
	w.add("c", "x", opening(2))
	mustFlush(t, s, w)

	if got, ok := v.Checkpoint(); !ok || got != then.at {
		t.Errorf("checkpoint of the view is %+v, %v, want %+v", got, ok, then.at)
	}
	count := 0
	if err := v.AllPairs(context.Background(), func(r *projection.PairRecord) error {
		count++
		comparePair(t, r, then)
		return nil
	}); err != nil || count != 2 {
		t.Errorf("the view has %d pairs, %v, want 2", count, err)
	}
	if got, err := v.Holder(context.Background(), "a"); err != nil || *got != then.holders["a"] {
		t.Errorf("holder in the view is %+v, %v, want %+v", got, err, then.holders["a"])
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := v.Holder(context.Background(), "a"); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("holder of a closed view: %v", err)
	}
	compare(t, s, w)
}

// Every flush adds a hold to each of four pairs. So in every view all pairs have
// as many holds as the view's checkpoint says.
func testReadersDuringFlushes(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const pairs, flushes = 4, 60
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := checkView(s, pairs); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	w := newWriter(0)
	for i := range int64(flushes) {
		for p := range pairs {
			w.add(fmt.Sprintf("holder-%d", p), "token", ended(10*i, 10*i+5))
		}
		if err := w.flush(context.Background(), s); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	readers.Wait()
	h.compareAll(t, s, w)
}

func checkView(s projection.Store, pairs int) error {
	ctx := context.Background()
	v, err := s.View(ctx, 0)
	if err != nil {
		return err
	}
	defer v.Close()
	at, _ := v.Checkpoint()
	return v.AllPairs(ctx, func(r *projection.PairRecord) error {
		p, err := r.Open()
		if err != nil {
			return err
		}
		if want := int(at.Position) / pairs; p.Len() != want {
			return fmt.Errorf("pair %v has %d facts in the view of position %d, want %d", r.Key, p.Len(), at.Position, want)
		}
		return nil
	})
}

// modelRuns is how many runs of the model have one store. Where a read looks at
// everything that is stored, as in some databases of tests, more would be slow.
const modelRuns = 10

// testModel does anything in any order and compares with the writer.
func testModel(t *testing.T, limit Harness, open func(t *testing.T) Harness) {
	type place struct {
		Harness
		store   projection.Store
		writers []*writer // each run has a partition of its own
	}
	var places []*place
	runs, underWay, failed := 0, false, false // what has failed is drawn again, smaller, and nothing is left out
	rapid.Check(t, func(rt *rapid.T) {
		failed = failed || underWay
		if most := limit.ModelRuns; most > 0 && runs >= most && !failed {
			return
		}
		underWay = true
		if len(places) == 0 || len(places[len(places)-1].writers) == modelRuns {
			h := open(t)
			places = append(places, &place{Harness: h, store: h.opened(t)})
		}
		p, t := places[len(places)-1], rt
		s := p.store
		w := newWriter(len(p.writers))
		p.writers = append(p.writers, w)
		w.policy = rapid.SampledFrom([]hold.Policy{hold.Merge, hold.Sum}).Draw(t, "policy")
		id := rapid.SampledFrom([]string{"a", "ab", "b", "a/", "é"})
		at := rapid.Int64Range(1, 30)
		for range rapid.IntRange(1, 12).Draw(t, "flushes") {
			for range rapid.IntRange(1, 20).Draw(t, "facts") {
				from := at.Draw(t, "from")
				f := ended(from, from+at.Draw(t, "length"))
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					f = opening(from)
				case 1:
					f = stop(from)
				case 2:
					f.Kind = hold.KindRetractHold
				case 3:
					f.HoldID, f.Revision = id.Draw(t, "hold id"), rapid.Uint64Range(0, 3).Draw(t, "revision")
				}
				w.add(id.Draw(t, "holder"), id.Draw(t, "token"), f)
			}
			if err := w.flush(context.Background(), s); err != nil {
				t.Fatalf("flush: %v", err)
			}
			if rapid.Bool().Draw(t, "compare") {
				compare(t, s, w)
			}
		}
		compare(t, s, w)
		runs++
		underWay = false
	})
	for _, p := range places {
		p.writers = slices.DeleteFunc(p.writers, func(w *writer) bool { return len(w.fresh) > 0 }) // of a run that failed
		p.compareAll(t, p.store, p.writers...)
	}
}
