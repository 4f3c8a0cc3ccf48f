package hold_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// explainedRows collects the rows of a pair, page by page.
func explainedRows(t fataler, r *hold.Rule, p *hold.Pair, from, to int64, page, pieces int) []hold.Contribution {
	t.Helper()
	var out []hold.Contribution
	err := r.EachContributionIn(p, from, to, page, pieces, func(c *hold.Contribution) bool {
		out = append(out, *c)
		return true
	})
	if err = errors.Join(err, p.Err()); err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// In pages of any size the rows are those of an explanation of all holds at once, by
// every kind of rule, in memory and from stored pages.
func TestExplainInPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := genRule(t)
		random := drawn(t)
		scenario := largeScenarios[random(int64(len(largeScenarios)))]
		n := int(70 + random(150))
		seed := uint64(random(1 << 30))
		events := scenario.events(n, seeded(seed))
		if random(3) == 0 { // many of one start, and equal ones
			for i := range events {
				if events[i].Start > 1 {
					events[i].Start = 1 + events[i].Start/50
				}
			}
		}
		p, s := pairOf(r.Policy, events), stored{}
		s.flush(p)
		if !p.Large() {
			t.Skip("a small pair is explained at once")
		}
		for range 3 {
			from, to := random(2)*(1+random(int64(10*n))), 1+random(int64(12*n))
			if to < from {
				from, to = to, from
			}
			opened, err := s.open(r.Policy)
			if err != nil {
				t.Fatal(err)
			}
			page := int(1 + random(40))
			want := r.Explain(p, from, to)
			for name, pair := range map[string]*hold.Pair{"in memory": p, "stored": opened} {
				got := explainedRows(t, r, pair, from, to, page, 1<<20)
				if !slices.Equal(got, want) {
					for i := range want {
						if i >= len(got) || got[i] != want[i] {
							t.Fatalf("%s, %s, %+v, [%d, %d) by %d: row %d of %d (want %d) is\n%+v, want\n%+v", scenario.name, name, r, from, to, page, i, len(got), len(want), rowAt(got, i), want[i])
						}
					}
					t.Fatalf("%s, %+v, [%d, %d) by %d: %d rows, want %d", name, r, from, to, page, len(got), len(want))
				}
			}
		}
	})
}

func rowAt(list []hold.Contribution, i int) *hold.Contribution {
	if i < len(list) {
		return &list[i]
	}
	return nil
}

// A pair whose holds all count where those above them end is refused, not explained in
// memory without bound.
func TestExplainEntangled(t *testing.T) {
	t.Parallel()
	p := hold.NewPair(hold.Merge)
	for i := range int64(2000) {
		w, err := hold.ParseWeight(strconv.FormatInt(5000-i, 10))
		if err != nil {
			t.Fatal(err)
		}
		p.Add(hold.Fact{Kind: hold.KindHold, Start: 1 + i, End: 10_000 + i, Weight: w, HasWeight: true})
	}
	rule := hold.PlainRule(hold.Merge)
	if err := rule.EachContributionIn(p, 0, 20_000, 100, 1000, func(*hold.Contribution) bool { return true }); !errors.Is(err, hold.ErrEntangled) {
		t.Errorf("error is %v", err)
	}
	if got, want := explainedRows(t, rule, p, 0, 20_000, 100, 4000), rule.Explain(p, 0, 20_000); !slices.Equal(got, want) {
		t.Error("the rows differ")
	}
}

// An explanation is given up at any step, with the error of the step.
func TestExplainIsGivenUp(t *testing.T) {
	t.Parallel()
	p := hold.NewPair(hold.Merge)
	for i := range int64(3000) {
		f := hold.Fact{Kind: hold.KindHold, Start: 1 + i, End: 10 + i}
		if i%2 == 0 {
			f.HoldID = strconv.FormatInt(i, 10)
		}
		p.Add(f)
	}
	s := stored{}
	s.flush(p)
	for at := 1; ; at++ {
		pair, err := s.open(hold.Merge)
		if err != nil {
			t.Fatal(err)
		}
		steps, rows, enough := 0, 0, errors.New("enough")
		err = hold.PlainRule(hold.Merge).EachContribution(pair, 0, hold.MaxTime, func() error {
			if steps++; steps == at {
				return enough
			}
			return nil
		}, func(*hold.Contribution) bool { rows++; return true })
		if steps < at {
			if err != nil || rows != 3000 || at < 20 {
				t.Errorf("%d steps, %d rows, %v", steps, rows, err)
			}
			return
		}
		if err != enough || steps != at || rows > 0 {
			t.Fatalf("given up at step %d: %d steps, %d rows, %v", at, steps, rows, err)
		}
	}
}

// The memory of an explanation does not grow with the pair. It is no parallel test: it
// measures the heap.
func TestExplainMemory(t *testing.T) {
	const n = 30_000
	for name, id := range map[string]func(i int) string{
		"with hold_ids":    func(i int) string { return fmt.Sprintf("lot-%016d", i) },
		"without hold_ids": func(int) string { return "" },
	} {
		p, s := hold.NewPair(hold.Merge), stored{}
		for i := range n {
			p.Add(hold.Fact{Kind: hold.KindHold, HoldID: id(i), Start: 10 * int64(i+1), End: 10*int64(i+1) + 25})
		}
		s.flush(p)
		paged := sortedPages(s.pages())
		p, s = nil, nil
		root, _ := paged.Page(nil)
		pair, err := hold.OpenPair(hold.Merge, []hold.Page{{Data: root}}, paged)
		if err != nil {
			t.Fatal(err)
		}
		before, rows, most := liveHeap(), 0, uint64(0)
		if err := hold.PlainRule(hold.Merge).EachContribution(pair, 0, hold.MaxTime, func() error { return nil }, func(*hold.Contribution) bool {
			if rows++; rows%(n/6) == 0 {
				most = max(most, liveHeap())
			}
			return true
		}); err != nil || rows != n || pair.Err() != nil {
			t.Fatalf("%s: %d rows, %v, %v", name, rows, err, pair.Err())
		}
		// All rows at once are 400 bytes a hold, and their holds and sums 300 more.
		if each := (int64(most) - int64(before)) / n; each > 60 {
			t.Errorf("%s: %d bytes a hold are kept", name, each)
		}
		runtime.KeepAlive(paged)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sortedPages are pages by key, of which a scan keeps nothing.
type sortedPages []hold.Page

func (s sortedPages) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(s, key, func(p hold.Page, key []byte) int { return bytes.Compare(p.Key, key) })
}

func (s sortedPages) Page(key []byte) ([]byte, error) {
	if i, there := s.find(key); there {
		return s[i].Data, nil
	}
	return nil, nil
}

func (s sortedPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	for i, _ := s.find(prefix); i < len(s) && bytes.HasPrefix(s[i].Key, prefix) && yield(s[i]); i++ {
	}
	return nil
}
