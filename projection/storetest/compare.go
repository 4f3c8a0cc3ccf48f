package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// reporter is a *testing.T or a *rapid.T.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// compare reads a partition in every way there is and compares it with the writer.
func compare(t reporter, s projection.Store, w *writer) {
	t.Helper()
	ctx := context.Background()
	v, err := s.View(ctx, w.partition)
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	defer v.Close()
	compareCheckpoint(t, ctx, s, v, w)

	keys := slices.SortedFunc(maps.Keys(w.figures), projection.PairKey.Compare)
	var walked []projection.PairKey
	err = v.AllPairs(ctx, func(r *projection.PairRecord) error {
		walked = append(walked, r.Key)
		comparePair(t, r, w)
		return nil
	})
	if err != nil {
		t.Fatalf("all pairs: %v", err)
	}
	if !slices.Equal(keys, walked) {
		t.Fatalf("all pairs: keys (-want +got):\n%s", cmp.Diff(keys, walked))
	}

	loaded, err := s.Load(ctx, w.partition, keys)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	for i, r := range loaded {
		if r == nil {
			t.Fatalf("load: no record of %v", keys[i])
		}
		if r.Key != keys[i] {
			t.Fatalf("load: record of %v in the place of %v", r.Key, keys[i])
		}
		comparePair(t, r, w)
	}
	compareHolders(t, ctx, s, v, w)
}

func compareCheckpoint(t reporter, ctx context.Context, s projection.Store, v projection.PartitionView, w *writer) {
	t.Helper()
	want := len(w.figures) > 0
	if got, ok := v.Checkpoint(); ok != want || ok && got != w.at {
		t.Fatalf("checkpoint of the view is %+v, %v, want %+v, %v", got, ok, w.at, want)
	}
	if got, ok, err := s.Checkpoint(ctx, w.partition); err != nil || ok != want || ok && got != w.at {
		t.Fatalf("checkpoint is %+v, %v, %v, want %+v, %v", got, ok, err, w.at, want)
	}
}

func compareHolders(t reporter, ctx context.Context, s projection.Store, v projection.PartitionView, w *writer) {
	t.Helper()
	names := slices.Sorted(maps.Keys(w.holders))
	records, err := s.LoadHolders(ctx, w.partition, names)
	if err != nil {
		t.Fatalf("load holders: %v", err)
	}
	for i, name := range names {
		want := w.holders[name]
		if records[i] == nil || *records[i] != want {
			t.Fatalf("load holders: %q is %+v, want %+v", name, records[i], want)
		}
		for how, read := range map[string]func() (*projection.HolderRecord, error){
			"store": func() (*projection.HolderRecord, error) { return s.Holder(ctx, w.partition, name) },
			"view":  func() (*projection.HolderRecord, error) { return v.Holder(ctx, name) },
		} {
			if got, err := read(); err != nil || *got != want {
				t.Fatalf("%s: holder %q is %+v, %v, want %+v", how, name, got, err, want)
			}
		}
		var pairs, figures []projection.PairKey
		if err := v.Pairs(ctx, name, func(r *projection.PairRecord) error {
			pairs = append(pairs, r.Key)
			comparePair(t, r, w)
			return nil
		}); err != nil {
			t.Fatalf("pairs of %q: %v", name, err)
		}
		if err := s.HolderPairs(ctx, w.partition, name, func(k projection.PairKey, f hold.Figures) error {
			figures = append(figures, k)
			if f != w.figures[k] {
				t.Errorf("holder pairs: figures of %v are %+v, want %+v", k, f, w.figures[k])
			}
			return nil
		}); err != nil {
			t.Fatalf("holder pairs of %q: %v", name, err)
		}
		var keys []projection.PairKey
		for k := range w.figures {
			if k.Holder == name {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, projection.PairKey.Compare)
		if !slices.Equal(keys, pairs) {
			t.Fatalf("pairs of %q (-want +got):\n%s", name, cmp.Diff(keys, pairs))
		}
		if !slices.Equal(keys, figures) {
			t.Fatalf("holder pairs of %q (-want +got):\n%s", name, cmp.Diff(keys, figures))
		}
	}
	if got := changedSince(t, s, w.partition, 0); !slices.Equal(got, names) {
		t.Fatalf("changed since 0: %q, want %q", got, names)
	}
}

func changedSince(t reporter, s projection.Store, partition int, position uint64) (names []string) {
	t.Helper()
	err := s.ChangedSince(context.Background(), partition, position, func(h *projection.HolderRecord) error {
		names = append(names, h.Holder)
		return nil
	})
	if err != nil {
		t.Fatalf("changed since %d: %v", position, err)
	}
	return names
}

// comparePair opens a record and compares it with the pair that it was made of.
func comparePair(t reporter, r *projection.PairRecord, w *writer) {
	t.Helper()
	want := w.pairs[r.Key]
	if want == nil {
		t.Fatalf("pair %v was never written", r.Key)
	}
	if r.Policy != w.policy || r.Figures != w.figures[r.Key] {
		t.Fatalf("pair %v has policy %v and figures %+v, want %v, %+v", r.Key, r.Policy, r.Figures, w.policy, w.figures[r.Key])
	}
	got, err := r.Open()
	if err != nil {
		t.Fatalf("open pair %v: %v", r.Key, err)
	}
	wanted, found := slices.Collect(want.Holds()), slices.Collect(got.Holds())
	if !slices.Equal(wanted, found) { // cmp.Diff takes long to say that nothing differs
		t.Fatalf("holds of %v (-want +got):\n%s", r.Key, cmp.Diff(wanted, found))
	}
	if got.Len() != want.Len() || got.Waiting() != want.Waiting() {
		t.Fatalf("pair %v has %d facts, %d waiting; want %d, %d", r.Key, got.Len(), got.Waiting(), want.Len(), want.Waiting())
	}
	if got.Sealed() != want.Sealed() {
		t.Fatalf("sealed of %v is %+v, want %+v", r.Key, got.Sealed(), want.Sealed())
	}
	if g, w := got.Figures(w.at.LogTime), want.Figures(w.at.LogTime); g != w {
		t.Fatalf("figures of the opened pair %v are %+v, want %+v", r.Key, g, w)
	}
	if err := r.Check(got); err != nil {
		t.Fatalf("pair %v: %v", r.Key, err)
	}
}

// mustFlush writes what is new.
func mustFlush(t reporter, s projection.Store, w *writer) {
	t.Helper()
	if err := w.flush(context.Background(), s); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func wantError(t reporter, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}
