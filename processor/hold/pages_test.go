package hold_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/processor/hold"
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
// written and opened anew where reopen says so; both are flushed where flush
// says so. The two must stay the same, down to the bytes that they store.
func runStored(t fataler, policy hold.Policy, events []hold.Event, flush, reopen func(i int) bool) (*hold.Pair, stored) {
	t.Helper()
	stays, comes := hold.NewPair(policy), hold.NewPair(policy)
	a, b := stored{}, stored{}
	both := func() {
		if wrong := a.flush(stays); wrong != "" {
			t.Fatalf("the pair that stayed: %s", wrong)
		}
		if wrong := b.flush(comes); wrong != "" {
			t.Fatalf("the pair that was opened anew: %s", wrong)
		}
		if !a.equal(b) {
			t.Fatalf("a pair that was opened anew stores other pages than one that stayed in memory")
		}
	}
	for i, e := range events {
		if x, y := stays.Add(e.Fact()), comes.Add(e.Fact()); x != y {
			t.Fatalf("add %+v: %v in the pair that stayed, %v in the one that was opened anew", e, x, y)
		}
		if flush(i) {
			both()
		}
		if reopen(i) {
			both()
			var err error
			if comes, err = hold.OpenPair(policy, b.pages()); err != nil {
				t.Fatalf("open: %v", err)
			}
			for page := range comes.DirtyPages() {
				t.Fatalf("page %x is dirty in a pair just opened", page.Key)
			}
		}
	}
	both()
	opened, err := hold.OpenPair(policy, b.pages())
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
		opened, _ := runStored(t, policy, events, sometimes, sometimes)
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
		opened, err := hold.OpenPair(policy, slices.Collect(p.DirtyPages()))
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		s := modelOf(policy, events).state()
		requireIdentical(t, p, opened, sampleTimes(s, 20, drawn(t)))
	})
}
