package hold_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// TestLargePages is TestPages with histories long enough for trees of two levels
// and more, compared with the pair that stays in memory.
func TestLargePages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy(t)
		random := drawn(t)
		scenario := largeScenarios[random(int64(len(largeScenarios)))]
		n := int(100 + random(int64(scenario.size.most(400, 400, 150))))
		if random(50) == 0 {
			n += scenario.size.most(2000, 2000, 300)
		}
		seed := uint64(random(1 << 30))
		events := scenario.events(n, seeded(seed))
		random = seeded(seed + 1)
		opened, pages := runStored(t, policy, events,
			func(int) bool { return random(40) == 0 },
			func(int) bool { return random(100) == 0 },
			func(int) int { return int(random(20_000)) - 10_000 })
		p := pairOf(policy, events)
		var times []int64
		for range 20 {
			times = append(times, 1+random(int64(4*n)), 1+random(hold.MaxTime))
		}
		requireIdentical(t, p, opened, times)
		for range 3 {
			from := times[random(int64(len(times)))]
			to := from + random(int64(n))
			got := hold.Explain(policy, opened.HoldsIn(from, to), from, to)
			if want := hold.Explain(policy, p.Holds(), from, to); !slices.Equal(got, want) {
				t.Fatalf("in [%d, %d): %v, want %v", from, to, got, want)
			}
		}
		if got, want := slices.Collect(opened.Facts()), slices.Collect(p.Facts()); !slices.Equal(got, want) {
			t.Fatalf("%d facts, want %d", len(got), len(want))
		}
		if err := opened.Err(); err != nil {
			t.Fatal(err)
		}
		// Walks leave in memory what was there.
		before := opened.Bytes()
		for range opened.Holds() {
		}
		if after := opened.Bytes(); after > before+before/2+50_000 {
			t.Fatalf("a walk left %d bytes in memory, where there were %d", after, before)
		}
		if cold, err := pages.open(policy); err != nil {
			t.Fatal(err)
		} else if again := slices.Collect(cold.DirtyPages()); len(again) != 0 {
			t.Fatalf("%d pages are dirty in a pair just opened", len(again))
		}
	})
}

// counted counts what is read.
type counted struct {
	stored
	pages int
	bytes int
}

func (c *counted) Page(key []byte) ([]byte, error) {
	c.pages++
	c.bytes += len(c.stored[string(key)])
	return c.stored.Page(key)
}

// TestFewPages: "A pair of a million holds takes an event in O(log n + holds
// touched) and is never loaded whole."
func TestFewPages(t *testing.T) {
	t.Parallel()
	n := int64(50_000)
	if testing.Short() {
		n = 10_000
	}
	// A hold of five every ten; every tenth by id; every thousandth is open and then stopped.
	whale := func(policy hold.Policy) (*hold.Pair, stored) {
		p := hold.NewPair(policy)
		for i := range n {
			f := hold.Fact{Kind: hold.KindHold, Start: 10*i + 1, End: 10*i + 6}
			switch {
			case i%1000 == 999:
				f.End = 0
				p.Add(hold.Fact{Kind: hold.KindStop, End: 10*i + 6})
			case i%10 == 3:
				f.HoldID = "lot " + strconv.FormatInt(i, 10)
			}
			p.Add(f)
		}
		s := stored{}
		s.flush(p)
		return p, s
	}
	mid := 10 * (n / 2)
	weight, _ := hold.ParseWeight("0.5")
	for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
		p, s := whale(policy)
		if len(s) < int(n)/64 {
			t.Fatalf("%d pages are stored", len(s))
		}
		for _, c := range []struct {
			name  string
			facts []hold.Fact
		}{
			{"append", []hold.Fact{{Kind: hold.KindHold, Start: 10*n + 1, End: 10*n + 3}}},
			{"insert in a gap", []hold.Fact{{Kind: hold.KindHold, Start: mid + 7, End: mid + 8}}},
			{"insert over another", []hold.Fact{{Kind: hold.KindHold, Start: mid + 2, End: mid + 8, Weight: weight, HasWeight: true}}},
			{"insert that is there", []hold.Fact{{Kind: hold.KindHold, Start: mid + 1, End: mid + 6}}},
			{"open at the end", []hold.Fact{{Kind: hold.KindHold, Start: 10*n + 1}}},
			{"stop and its open in the middle", []hold.Fact{{Kind: hold.KindStop, End: mid + 9}, {Kind: hold.KindHold, Start: mid + 7}}},
			{"stop that ends nothing", []hold.Fact{{Kind: hold.KindStop, End: mid + 7}}},
			{"retract of a hold", []hold.Fact{{Kind: hold.KindRetractHold, Start: mid + 1, End: mid + 6}}},
			{"retract of a stop", []hold.Fact{{Kind: hold.KindRetractStop, End: 10*(n-1) + 6}}},
			{"heavy hold over a thousand", []hold.Fact{{Kind: hold.KindHold, Start: mid + 1, End: mid + 10_000, Weight: hold.Weight{1, 1}, HasWeight: true}}},
			{"new lot", []hold.Fact{{Kind: hold.KindHold, HoldID: "new", Start: mid + 7, End: mid + 9}}},
			{"lot corrected", []hold.Fact{{Kind: hold.KindHold, HoldID: fmt.Sprintf("lot %d", n/2+3), Revision: 1, Start: mid + 32, End: mid + 34}}},
			{"lot retracted", []hold.Fact{{Kind: hold.KindRetractHold, HoldID: fmt.Sprintf("lot %d", n/2+3)}}},
			{"lot stopped", []hold.Fact{{Kind: hold.KindStop, HoldID: fmt.Sprintf("lot %d", n/2+3), Revision: 1, End: mid + 33}}},
			{"as of", nil},
		} {
			t.Run(fmt.Sprintf("%s/%v", c.name, policy), func(t *testing.T) {
				most := 8 // pages: two ways down a tree of four levels
				if strings.HasSuffix(c.name, "over a thousand") {
					most += 1000 / 16
				}
				from := &counted{stored: maps.Clone(s)}
				evicted, err := hold.OpenPair(policy, []hold.Page{{Data: s[""]}}, from)
				if err != nil {
					t.Fatal(err)
				}
				all := 0
				for _, data := range s {
					all += len(data)
				}
				for _, f := range c.facts {
					evicted.Add(f)
				}
				at := 10*n + 100
				if c.facts == nil {
					at = mid + 3
					if got, want := evicted.LiveAt(at), p.LiveAt(at); got != want {
						t.Errorf("live at %d: %v, want %v", at, got, want)
					}
					if got, want := evicted.SettledAt(at), p.SettledAt(at); got != want {
						t.Errorf("settled at %d: %v, want %v", at, got, want)
					}
				}
				evicted.Figures(at)
				for range evicted.DirtyPages() {
				}
				if err := evicted.Err(); err != nil {
					t.Fatal(err)
				}
				if from.pages > most || from.bytes > all/8 {
					t.Errorf("%d pages of %d bytes were read, want at most %d pages; all are %d bytes", from.pages, from.bytes, most, all)
				}
				if dirty := len(slices.Collect(evicted.DirtyPages())); dirty > most {
					t.Errorf("%d pages are written, want at most %d", dirty, most)
				}
			})
		}
	}
}

// TestTrim: a large pair shrinks to what was asked for, and then to its root, but
// keeps what is not stored.
func TestTrim(t *testing.T) {
	t.Parallel()
	p := hold.PairFromFacts(hold.Merge, slices.Values(endedInOrder(20_000)))
	for i := range 200 {
		p.Add(hold.Fact{Kind: hold.KindHold, HoldID: strconv.Itoa(i), Start: int64(i + 1), End: int64(i + 2)})
	}
	whole := p.Bytes()
	s := stored{}
	if p.Trim(1<<30, true); p.Bytes() != whole {
		t.Errorf("%d bytes of %d are left of a pair that cannot be read back", p.Bytes(), whole)
	}
	p.ReadFrom(s)
	if p.Trim(1<<30, true); p.Bytes() != whole {
		t.Errorf("%d bytes of %d are left of a pair that is not stored", p.Bytes(), whole)
	}
	s.flush(p)
	if p.Trim(1<<30, false); p.Bytes() != whole {
		t.Errorf("%d bytes of %d are left while the pages are on their way", p.Bytes(), whole)
	}
	want := figuresOf(p)
	for left := whole / 2; left > whole/16; left /= 2 {
		p.Trim(p.Bytes()-left, true)
		if n := p.Bytes(); n > left || n < left/2 {
			t.Errorf("%d bytes are left, want about %d", n, left)
		}
	}
	if p.Trim(1<<30, true); p.Bytes() > 20_000 {
		t.Errorf("%d bytes are left at least", p.Bytes())
	}
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 15_000 * second * 10, End: 15_000*second*10 + 1})
	before := p.Bytes()
	if p.Trim(1<<30, true); p.Bytes() < before-30_000 {
		t.Errorf("what is not stored left memory")
	}
	p.Add(hold.Fact{Kind: hold.KindRetractHold, Start: 15_000 * second * 10, End: 15_000*second*10 + 1})
	if got := figuresOf(p); got != want || p.Err() != nil {
		t.Errorf("figures are %v, %v, want %v", got, p.Err(), want)
	}
}

func figuresOf(p *hold.Pair) hold.Figures {
	return p.Figures(1_000_000 * second)
}

// failing gives an error instead of a page once its time has come.
type failing struct {
	stored
	left int
}

var errAway = errors.New("the store is away")

func (f *failing) Page(key []byte) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, errAway
	}
	return f.stored.Page(key)
}

// TestPageFails: a pair that could not read a page says so, gives nothing to
// store, and comes back when it is reopened.
func TestPageFails(t *testing.T) {
	t.Parallel()
	p := hold.PairFromFacts(hold.Merge, slices.Values(endedInOrder(20_000)))
	s := stored{}
	s.flush(p)
	fact := hold.Fact{Kind: hold.KindHold, Start: 12_345*10*second + 1, End: 12_345*10*second + 7*second}
	for left := 0; ; left++ {
		if left > 20 {
			t.Fatal("no end of pages")
		}
		q, err := hold.OpenPair(hold.Merge, []hold.Page{{Data: s[""]}}, &failing{s, left})
		if err != nil {
			t.Fatal(err)
		}
		added := q.Add(fact)
		q.LiveAt(fact.Start)
		if q.Err() == nil {
			if left == 0 || !added {
				t.Fatalf("no page was read, or the fact not added")
			}
			return
		}
		if !errors.Is(q.Err(), errAway) {
			t.Fatalf("the error is %v", q.Err())
		}
		for range q.DirtyPages() {
			t.Fatal("a lost pair gives pages to store")
		}
		if q.Add(fact) || q.LiveAt(5) != (hold.Amount{}) || q.Figures(5) != (hold.Figures{}) {
			t.Fatal("a lost pair goes on")
		}
	}
}

// TestDamagedPages: a page that is missing, damaged, or from another time is
// found out.
func TestDamagedPages(t *testing.T) {
	t.Parallel()
	p := hold.PairFromFacts(hold.Merge, slices.Values(endedInOrder(20_000)))
	p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "a", Start: 5, End: 6})
	earlier := stored{}
	earlier.flush(p)
	later := maps.Clone(earlier)
	for i := range int64(20_000) {
		p.Add(hold.Fact{Kind: hold.KindHold, Start: (i+1)*10*second + 6, End: (i+1)*10*second + 7})
	}
	p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "a", Revision: 1, Start: 5, End: 9})
	later.flush(p)
	random := seeded(1)
	keys := slices.Sorted(maps.Keys(later))
	for range 200 {
		s := maps.Clone(later)
		key := keys[random(int64(len(keys)))]
		data := bytes.Clone(s[key])
		how := random(4)
		switch before, was := earlier[key]; {
		case how == 0 && key != "":
			delete(s, key)
		case how == 1:
			data[random(int64(len(data)))] ^= byte(1 + random(255))
			s[key] = data
		case how == 2:
			s[key] = data[:random(int64(len(data)))]
		case was && key != "" && key[0] != 'i':
			s[key] = before
		default:
			continue
		}
		q, err := s.open(hold.Merge)
		if err == nil {
			for range q.Facts() {
			}
			q.Add(hold.Fact{Kind: hold.KindHold, HoldID: "a", Revision: 7, Start: 15, End: 19})
			for range q.Facts() {
			}
			err = q.Err()
		}
		// The page of a hold_id has no checksum: it may be another one, or none.
		if !errors.Is(err, hold.ErrCorrupt) && (err != nil || key != "ia") {
			t.Fatalf("page %x, %d: %v", key, how, err)
		}
	}
}

// TestGrowsOnTheWay: what was on its way when a pair became large stays until it
// is stored.
func TestGrowsOnTheWay(t *testing.T) {
	t.Parallel()
	p := hold.NewPair(hold.Merge)
	for i := range 64 {
		p.Add(hold.Fact{Kind: hold.KindHold, HoldID: strconv.Itoa(i), Start: int64(10*i + 1), End: int64(10*i + 5)})
	}
	s := stored{}
	s.flush(p) // and not there yet
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 1000, End: 1001})
	p.ReadFrom(stored{})
	p.Trim(1<<20, false)
	p.Trim(1<<20, false)
	if p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "7", Start: 71, End: 75}) || p.Len() != 65 {
		t.Fatalf("a hold_id was forgotten: %d facts", p.Len())
	}
}

// TestFormerPages: a pair whose leaves are pages of facts, as they were stored
// before, opens, is the same, and is written again by its next flush.
func TestFormerPages(t *testing.T) {
	t.Parallel()
	events := everything(600, 5000, 30, seeded(4))
	p := pairOf(hold.Merge, events)
	former := stored{}
	i := 0
	for f := range p.Facts() {
		key := "" // the first leaf
		if i >= 40 {
			key = fmt.Sprintf("t%059d", i/40)
		}
		if f.HoldID != "" {
			key = "i" + f.HoldID
		}
		if former[key] == nil {
			former[key] = []byte{1}
		}
		former[key] = f.Append(former[key])
		i++
	}
	s := maps.Clone(former)
	q, err := s.open(hold.Merge)
	if err != nil {
		t.Fatal(err)
	}
	times := []int64{1, 100, 2500, 5000, hold.MaxTime}
	requireIdentical(t, p, q, times)
	if wrong := s.flush(q); wrong != "" {
		t.Fatal(wrong)
	}
	for key := range s {
		if key != "" && key[0] == 't' {
			t.Errorf("page %q is still there", key)
		}
	}
	again, err := s.open(hold.Merge)
	if err != nil {
		t.Fatal(err)
	}
	requireIdentical(t, p, again, times)
	if !again.Large() || again.Err() != nil {
		t.Errorf("large %v, %v", again.Large(), again.Err())
	}
	for range again.DirtyPages() {
		t.Fatal("a page is dirty in a pair just opened")
	}
	for range q.DirtyPages() {
		t.Fatal("a page is dirty that was just written")
	}
}
