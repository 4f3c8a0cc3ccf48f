package watch

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/gateway/gatewaytest/fakes"
)

// The index finds each watcher that was added and not removed, once.
func TestIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		type added struct {
			key    string
			number uint32
		}
		model, at := map[string]map[uint32]bool{}, map[uint32][]added{}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(at) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				w := rapid.SampledFrom(slices.Sorted(maps.Keys(at))).Draw(t, "watcher")
				for _, a := range at[w] {
					x.remove(a.key, a.number)
					delete(model[a.key], w)
				}
				delete(at, w)
				continue
			}
			w := uint32(step)
			for i := range rapid.IntRange(1, 4).Draw(t, "keys") {
				key := fmt.Sprint("key", (i*7+rapid.IntRange(0, 3).Draw(t, "key"))%5)
				if model[key] == nil {
					model[key] = map[uint32]bool{}
				}
				if model[key][w] {
					continue
				}
				model[key][w] = true
				at[w] = append(at[w], added{key, x.add(key, w)})
			}
		}
		entries := 0
		for i := range 5 {
			key := fmt.Sprint("key", i)
			found := map[uint32]bool{}
			x.each(key, func(w uint32) {
				if found[w] {
					t.Fatalf("%s: watcher %d twice", key, w)
				}
				found[w] = true
			})
			entries += len(found)
			if !maps.Equal(found, model[key]) && len(found)+len(model[key]) > 0 {
				t.Fatalf("%s: %v, want %v", key, found, model[key])
			}
		}
		if x.entries != entries {
			t.Fatalf("%d entries, want %d", x.entries, entries)
		}
	})
}

// A name that is watched takes some tens of bytes beside itself, and gives them back. It
// is no parallel test: it measures the heap.
func TestWatchedNamesTakeLittle(t *testing.T) {
	const watches, each, size = 100, 1000, 42
	h := NewHub(nil, fakes.ReadySnapshots(), Bounds{})
	defer h.Wait()
	last, err := h.join("c", nameList{}, nil) // so that the hub goes on
	if err != nil {
		t.Fatal(err)
	}
	defer h.leave(last)
	before := liveHeap()
	var all []*watcher
	for i := range watches {
		names := make([]string, each)
		for j := range names {
			names[j] = fmt.Sprintf("0x%0*x", size-2, i*each+j)
		}
		w, err := h.join("c", newNameList(names), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	if took := int64(liveHeap()-before) / (watches * each); took > size+60 {
		t.Errorf("a name of %d bytes takes %d", size, took)
	}
	for _, w := range all {
		h.leave(w)
	}
	all = nil
	if left := int64(liveHeap()) - int64(before); left > watches*each {
		t.Errorf("%d bytes are kept for names that nobody watches any more", left)
	}
	runtime.KeepAlive(h)
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what pools kept goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
