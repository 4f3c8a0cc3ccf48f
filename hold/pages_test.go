package hold_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// stored is what a store keeps of a pair: pages by key.
type stored map[string][]byte

// flush writes a pair's dirty pages, as a store does. It says what was wrong with
// them, or nothing.
func (s stored) flush(p *hold.Pair) string {
	seen := map[string]bool{}
	for page := range p.DirtyPages() {
		if seen[string(page.Key)] {
			return "two pages of one key"
		}
		seen[string(page.Key)] = true
		if len(page.Data) == 0 {
			delete(s, string(page.Key))
			continue
		}
		s[string(page.Key)] = bytes.Clone(page.Data)
	}
	p.ClearDirty()
	for range p.DirtyPages() {
		return "a page is dirty after ClearDirty"
	}
	return ""
}

// pages lists them in the order of their keys.
func (s stored) pages() []hold.Page {
	var out []hold.Page
	for key, data := range s {
		out = append(out, hold.Page{Key: []byte(key), Data: data})
	}
	slices.SortFunc(out, func(a, b hold.Page) int { return bytes.Compare(a.Key, b.Key) })
	return out
}

// Page and Scan make stored [hold.Pages].
func (s stored) Page(key []byte) ([]byte, error) { return s[string(key)], nil }

func (s stored) Scan(prefix []byte, yield func(hold.Page) bool) error {
	for _, page := range s.pages() {
		if bytes.HasPrefix(page.Key, prefix) && !yield(page) {
			break
		}
	}
	return nil
}

// open opens the pair as a store hands it out: of a large one the root.
func (s stored) open(policy hold.Policy) (*hold.Pair, error) {
	if root, ok := s[""]; ok && hold.IsRoot(root) {
		return hold.OpenPair(policy, []hold.Page{{Data: root}}, s)
	}
	return hold.OpenPair(policy, s.pages(), s)
}

// difference names a page that is not the same in both.
func (s stored) difference(o stored) string {
	for _, page := range append(s.pages(), o.pages()...) {
		if key := string(page.Key); !bytes.Equal(s[key], o[key]) {
			return fmt.Sprintf("page %x is\n%x\nand\n%x", key, s[key], o[key])
		}
	}
	return "in nothing"
}

func (s stored) equal(o stored) bool {
	if len(s) != len(o) {
		return false
	}
	for key, data := range s {
		if !bytes.Equal(data, o[key]) {
			return false
		}
	}
	return true
}

// runStored applies the events to one pair that stays in memory and to one that is
// written and reopened where reopen says so, and parts of which leave memory
// where trim says how much; both are flushed where flush says so, each into a
// store of its own, and what is on its way to the second one's lands later. The
// two must stay the same, down to the bytes that they store.
func runStored(t fataler, policy hold.Policy, events []hold.Event, flush, reopen func(i int) bool, trim func(i int) int) (*hold.Pair, stored) {
	t.Helper()
	var there stored // what the second store gives back
	land := func() {}
	stays, comes := hold.NewPair(policy), hold.NewPair(policy)
	a, b := stored{}, stored{}
	there = stored{}
	both := func() {
		land()
		if wrong := a.flush(stays); wrong != "" {
			t.Fatalf("the pair that stayed: %s", wrong)
		}
		if wrong := b.flush(comes); wrong != "" {
			t.Fatalf("the pair that was reopened: %s", wrong)
		}
		if !a.equal(b) {
			t.Fatalf("a pair that was reopened stores other pages than one that stayed in memory: %s", a.difference(b))
		}
	}
	for i, e := range events {
		if x, y := stays.Add(e.Fact()), comes.Add(e.Fact()); x != y {
			t.Fatalf("add %+v: %v in the pair that stayed, %v in the one that was reopened", e, x, y)
		}
		if err := comes.Err(); err != nil {
			t.Fatalf("add %+v: %v", e, err)
		}
		if flush(i) {
			both()
			landed := maps.Clone(b)
			land = func() { clear(there); maps.Copy(there, landed) }
		}
		if free := trim(i); free > 0 {
			stored := free%2 == 0
			if stored {
				land()
			}
			comes.ReadFrom(there)
			comes.Trim(free, stored)
		}
		if reopen(i) {
			both()
			land = func() {}
			there = maps.Clone(b)
			var err error
			if comes, err = there.open(policy); err != nil {
				t.Fatalf("open: %v", err)
			}
			for page := range comes.DirtyPages() {
				t.Fatalf("page %x is dirty in a pair just opened", page.Key)
			}
		}
	}
	both()
	opened, err := b.open(policy)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return opened, b
}

// TestPages: what DirtyPages wrote, whenever it was asked, opens as the same pair,
// and goes on as the same.
func TestPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		sometimes := func(int) bool { return rapid.IntRange(0, 5).Draw(t, "now") == 0 }
		opened, _ := runStored(t, policy, events, sometimes, sometimes, func(int) int { return rapid.IntRange(-10_000, 10_000).Draw(t, "free") })
		m := modelOf(policy, events)
		s := m.state()
		times := sampleTimes(s, 20, drawn(t))
		requireSame(t, opened, s, times)
		requireFacts(t, opened, m)
		requireIdentical(t, pairOf(policy, events), opened, times)
	})
}

// TestFirstPages: a pair that was never flushed gives all of its pages.
func TestFirstPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		p := pairOf(policy, events)
		opened, err := hold.OpenPair(policy, slices.Collect(p.DirtyPages()), nil)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		s := modelOf(policy, events).state()
		requireIdentical(t, p, opened, sampleTimes(s, 20, drawn(t)))
	})
}
