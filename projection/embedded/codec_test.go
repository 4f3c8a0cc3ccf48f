package embedded

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

func TestComparer(t *testing.T) {
	t.Parallel()
	var prefixes, suffixes [][]byte
	for _, holder := range []string{"", "a", "a\x00", "a\x00\x01", "ab", "\xff"} {
		for _, token := range []string{"", "a", "\x00", "b\xff"} {
			prefixes = append(prefixes, appendPairKey(nil, 1, holder, token))
		}
	}
	suffixes = append(suffixes, nil)
	for _, s := range []string{"\x00", "i", "t\xff"} {
		suffixes = append(suffixes, appendPageKey(nil, []byte(s)))
	}
	c := newComparer().EnsureDefaults()
	for _, p := range prefixes {
		for _, s := range suffixes {
			if n := splitKey(append(bytes.Clone(p), s...)); n != len(p) {
				t.Errorf("split of %x + %x is %d, want %d", p, s, n, len(p))
			}
		}
	}
	if err := pebble.CheckComparer(c, prefixes, suffixes); err != nil {
		t.Error(err)
	}
}

// Keys sort as ids do and come apart as they were put together, whatever the bytes.
func TestKeys(t *testing.T) {
	t.Parallel()
	id := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 6), func(b []byte) string { return string(b) }),
		rapid.StringN(0, -1, 256),
	)
	pair := rapid.Custom(func(t *rapid.T) projection.PairKey {
		return projection.PairKey{Holder: id.Draw(t, "holder"), Token: id.Draw(t, "token")}
	})
	page := rapid.SliceOfN(rapid.Byte(), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := pair.Draw(t, "a"), pair.Draw(t, "b")
		ka := appendPairKey(nil, 3, a.Holder, a.Token)
		kb := appendPairKey(nil, 3, b.Holder, b.Token)
		pa := appendPageKey(bytes.Clone(ka), page.Draw(t, "page of a"))
		pb := appendPageKey(bytes.Clone(kb), page.Draw(t, "page of b"))
		if bytes.Compare(ka, kb) != a.Compare(b) {
			t.Fatalf("%q and %q sort otherwise than their keys", a, b)
		}
		if a != b && bytes.Compare(pa, pb) != a.Compare(b) {
			t.Fatalf("pages of %q and %q sort otherwise than the pairs", a, b)
		}
		holder, rest, err := cutID(ka[partitionEnd:])
		if err != nil || holder != a.Holder {
			t.Fatalf("holder %q reads as %q, %v", a.Holder, holder, err)
		}
		if token, rest, err := cutID(rest); err != nil || token != a.Token || len(rest) != 0 {
			t.Fatalf("token %q reads as %q, %v", a.Token, token, err)
		}
		for _, x := range [][]byte{ka, pa, afterPrefix(bytes.Clone(ka))} {
			for _, y := range [][]byte{kb, pb, afterPrefix(bytes.Clone(kb))} {
				if got := compareKeys(x, y); got != bytes.Compare(x, y) {
					t.Fatalf("%x and %x compare as %d, their bytes otherwise", x, y, got)
				}
			}
		}
		if splitKey(pa) != len(ka) {
			t.Fatalf("split of %x is %d, want %d", pa, splitKey(pa), len(ka))
		}
		end := afterPrefix(bytes.Clone(ka))
		if bytes.Compare(pa, end) >= 0 || b.Compare(a) > 0 && bytes.Compare(kb, end) < 0 {
			t.Fatalf("the bound %x is not between %x and %x", end, pa, kb)
		}
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	pair := hold.NewPair(hold.Sum)
	pair.Add(hold.Fact{Kind: hold.KindHold, Start: 1e18, End: 1e18 + 5})
	pair.Add(hold.Fact{Kind: hold.KindHold, Start: 1e18})
	figures := pair.Figures(1e18 + 7)

	c := projection.Checkpoint{LogID: "log", Position: 1 << 60, Epoch: 3, LogTime: -5, Events: 7, Rejected: 9}
	if got, err := parseCheckpoint(appendCheckpoint(nil, &c)); err != nil || got != c {
		t.Errorf("checkpoint: %+v, %v", got, err)
	}
	h := projection.HolderRecord{Figures: figures, UpdatedAt: 1e18, Position: 77}
	b := appendHolder(nil, &h)
	if got, err := parseHolder(b); err != nil || got != h {
		t.Errorf("holder: %+v, %v", got, err)
	}
	if got, err := parseHolderPosition(b); err != nil || got != 77 {
		t.Errorf("position: %d, %v", got, err)
	}
	for _, p := range []pairRecord{
		{policy: hold.Sum, figures: figures},
		{policy: hold.Merge, figures: figures, hasRoot: true, root: []byte{0, 1, 2}},
	} {
		b := p.append(nil)
		got, err := parsePair(b)
		if err != nil || got.policy != p.policy || got.figures != p.figures || got.hasRoot != p.hasRoot || !bytes.Equal(got.root, p.root) {
			t.Errorf("pair: %+v, %v", got, err)
		}
	}
	for what, b := range map[string][]byte{
		"empty": nil, "another version": append([]byte{9}, b[1:]...), "short": b[:len(b)-1], "long": append(bytes.Clone(b), 0),
	} {
		if _, err := parseHolder(b); !errors.Is(err, projection.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whatever the bytes: an error or a value, never a panic, and what was read
// writes back the same where it can be written in one way only.
func FuzzRecords(f *testing.F) {
	c := projection.Checkpoint{LogID: "log", Position: 5, Epoch: 3, LogTime: 9}
	p := hold.NewPair(hold.Merge)
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 1e18})
	f.Add(appendCheckpoint(nil, &c))
	f.Add(appendHolder(nil, &projection.HolderRecord{Figures: p.Figures(2e18), Position: 3}))
	r := pairRecord{figures: p.Figures(2e18), hasRoot: true, root: []byte("root")}
	f.Add(r.append(nil))
	f.Add(appendPairKey(nil, 1, "a\x00b", "c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCheckpoint(b); err == nil {
			if again, err := parseCheckpoint(appendCheckpoint(nil, &c)); err != nil || again != c {
				t.Errorf("checkpoint %+v reads back as %+v, %v", c, again, err)
			}
		}
		if h, err := parseHolder(b); err == nil {
			if again, err := parseHolder(appendHolder(nil, &h)); err != nil || again != h {
				t.Errorf("holder %+v reads back as %+v, %v", h, again, err)
			}
		}
		if p, err := parsePair(b); err == nil {
			if again, err := parsePair(p.append(nil)); err != nil || again.figures != p.figures || !bytes.Equal(again.root, p.root) {
				t.Errorf("pair %+v reads back as %+v, %v", p, again, err)
			}
		}
		_, _ = parseHolderPosition(b)
		_, _ = parseTagged(b, "anything")
		if n := splitKey(b); n > len(b) {
			t.Errorf("split of %x is %d", b, n)
		}
		if id, rest, err := cutID(b); err == nil && !bytes.Equal(append(appendID(nil, id), rest...), b) {
			t.Errorf("%x is the id %q and the rest %x", b, id, rest)
		}
	})
}
