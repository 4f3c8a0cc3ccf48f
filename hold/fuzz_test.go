package hold_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"holdmetrics/hold"
)

// seedEvents is a history with every kind of fact.
func seedEvents() []hold.Event {
	return everything(60, 200, 5, seeded(1))
}

func FuzzParseFact(f *testing.F) {
	for _, e := range seedEvents() {
		fact := e.Fact()
		f.Add(fact.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fact, rest, err := hold.ParseFact(b)
		if err != nil {
			if !errors.Is(err, hold.ErrCorrupt) {
				t.Fatalf("the error is no ErrCorrupt: %v", err)
			}
			return
		}
		read := b[:len(b)-len(rest)]
		if again := fact.Append(nil); !bytes.Equal(again, read) {
			t.Fatalf("%x reads as %+v, which is written as %x", read, fact, again)
		}
		// What parses can be added.
		p := hold.NewPair(hold.Merge)
		if !p.Add(fact) || p.Add(fact) {
			t.Fatalf("%+v is not new once", fact)
		}
	})
}

func FuzzParseFigures(f *testing.F) {
	for _, at := range []int64{1, 50, 100, 1000} {
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			figures := pairOf(policy, seedEvents()).Figures(at)
			f.Add(figures.Append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		figures, rest, err := hold.ParseFigures(b)
		if err != nil {
			if !errors.Is(err, hold.ErrCorrupt) {
				t.Fatalf("the error is no ErrCorrupt: %v", err)
			}
			return
		}
		read := b[:len(b)-len(rest)]
		if again := figures.Append(nil); !bytes.Equal(again, read) {
			t.Fatalf("%x reads as %+v, which is written as %x", read, figures, again)
		}
	})
}

// packPages puts pages into one string of bytes, for the fuzzer to change.
func packPages(pages []hold.Page) []byte {
	var b []byte
	for _, p := range pages {
		b = binary.AppendUvarint(b, uint64(len(p.Key)))
		b = append(b, p.Key...)
		b = binary.AppendUvarint(b, uint64(len(p.Data)))
		b = append(b, p.Data...)
	}
	return b
}

func unpackPages(b []byte) []hold.Page {
	var pages []hold.Page
	take := func() []byte {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			b = nil
			return nil
		}
		b = b[used:]
		n = min(n, uint64(len(b)))
		out := b[:n]
		b = b[n:]
		return out
	}
	for len(b) > 0 && len(pages) < 1000 {
		key := take()
		pages = append(pages, hold.Page{Key: key, Data: take()})
	}
	return pages
}

// FuzzOpenPair: whatever the pages, an error or a pair that is what its facts say.
func FuzzOpenPair(f *testing.F) {
	for _, n := range []int{0, 3, 60, 400} {
		p := pairOf(hold.Merge, everything(n, 200, 5, seeded(uint64(n))))
		f.Add(packPages(slices.Collect(p.DirtyPages())))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			p, err := hold.OpenPair(policy, unpackPages(b), nil)
			if err != nil {
				if !errors.Is(err, hold.ErrCorrupt) {
					t.Fatalf("the error is no ErrCorrupt: %v", err)
				}
				continue
			}
			if p.Large() {
				poke(t, p)
				continue
			}
			q := hold.PairFromFacts(policy, p.Facts())
			requireIdentical(t, q, p, []int64{1, 2, 50, 100, 1_000_000_000, hold.MaxTime})
			m := newModel(policy)
			for fact := range p.Facts() {
				m.add(fact)
			}
			if len(m.facts) > 100 {
				continue
			}
			s := m.state()
			requireSame(t, p, s, sampleTimes(s, 8, seeded(1)))
		}
	})
}

// poke does everything with a large pair whose pages may be anything: what it
// tells may be wrong, and it may be lost, but then as damaged.
func poke(t *testing.T, p *hold.Pair) {
	t.Helper()
	for i, e := range everything(40, 300, 5, seeded(2)) {
		p.Add(e.Fact())
		at := int64(i * 10)
		p.LiveAt(at)
		p.SettledAt(at)
		p.Figures(at)
		if i%10 == 0 {
			for range p.DirtyPages() {
			}
			p.Trim(1<<20, true)
		}
	}
	n := 0
	for range p.Facts() {
		n++
	}
	for range p.Holds() {
		n++
	}
	if p.Err() != nil && !errors.Is(p.Err(), hold.ErrCorrupt) {
		t.Fatalf("the error is no ErrCorrupt: %v", p.Err())
	}
}

// FuzzLargePages: pages of a large pair whose checksums count for nothing.
func FuzzLargePages(f *testing.F) {
	for _, n := range []int{150, 400, 4000} {
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			p := pairOf(policy, everything(n, int64(n), 5, seeded(uint64(n))))
			f.Add(packPages(slices.Collect(p.DirtyPages())), policy == hold.Sum)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		policy := hold.Merge
		if sum {
			policy = hold.Sum
		}
		pages := stored{}
		for _, page := range unpackPages(b) {
			pages[string(page.Key)] = page.Data
		}
		p, err := hold.OpenUnchecked(policy, pages[""], pages)
		if err != nil {
			if !errors.Is(err, hold.ErrCorrupt) {
				t.Fatalf("the error is no ErrCorrupt: %v", err)
			}
			return
		}
		poke(t, p)
	})
}

// FuzzCheck: what is accepted keeps the rules of section 6 of docs/semantics.md, stated here once more.
func FuzzCheck(f *testing.F) {
	f.Add("t", "h", "", int64(100), int32(0), true, int64(200), int32(5), true, 1.5, false, "", uint64(0), false)
	f.Add("t", "h", "a", int64(0), int32(0), false, int64(200), int32(0), true, 0.0, true, "12.50", uint64(3), true)
	f.Add("", "\x7f", "\xff", int64(-1), int32(-1), true, int64(math.MaxInt64), int32(math.MaxInt32), true, math.NaN(), true, ".", uint64(1), true)
	f.Fuzz(func(t *testing.T, token, holder, id string, ss int64, sn int32, sset bool, es int64, en int32, eset bool, weight float64, given bool, exact string, rev uint64, retract bool) {
		d := hold.Draft{
			Token: token, Holder: holder, HoldID: id,
			Start: hold.Stamp{Seconds: ss, Nanos: sn, Set: sset}, End: hold.Stamp{Seconds: es, Nanos: en, Set: eset},
			Weight: weight, WeightGiven: given, WeightExact: exact, Revision: rev, Retract: retract,
		}
		e, err := d.Check(checkNow, hold.DefaultLimits())
		if want := acceptable(&d); want != (err == nil) {
			t.Fatalf("%+v: accepted %v, want %v: %v", d, err == nil, want, err)
		}
		if err != nil {
			var fe *hold.FieldError
			if !errors.As(err, &fe) || fe.Field == "" || fe.Err == nil {
				t.Fatalf("no field error: %v", err)
			}
			return
		}
		fact := e.Fact()
		if fact != modelFact(e) {
			t.Fatalf("%+v says %+v, want %+v", e, fact, modelFact(e))
		}
		again, rest, err := hold.ParseFact(fact.Append(nil))
		if err != nil || again != fact || len(rest) != 0 {
			t.Fatalf("%+v comes back as %+v, %v", fact, again, err)
		}
		p := hold.NewPair(hold.Sum)
		p.Add(fact)
		m := newModel(hold.Sum)
		m.add(fact)
		s := m.state()
		requireSame(t, p, s, sampleTimes(s, 8, seeded(1)))
	})
}

var exactWeight = regexp.MustCompile(`^[0-9]{1,37}(\.[0-9]{1,18})?\z`)

// acceptable is section 6 of docs/semantics.md as one condition a sentence.
func acceptable(d *hold.Draft) bool {
	id := func(s string, required bool) bool {
		control := strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cc, r) })
		return utf8.ValidString(s) && !control && len(s) <= 256 && (s != "" || !required)
	}
	time := func(s hold.Stamp, ahead int64) (*big.Int, bool) {
		ns := new(big.Int).Mul(big.NewInt(s.Seconds), big.NewInt(1e9))
		ns.Add(ns, big.NewInt(int64(s.Nanos)))
		soon := ns.Cmp(big.NewInt(checkNow+ahead)) <= 0 && ns.Cmp(big.NewInt(hold.MaxTime)) <= 0
		return ns, s.Nanos >= 0 && s.Nanos <= 999_999_999 && ns.Sign() > 0 && soon
	}
	lim := hold.DefaultLimits()
	end := d.End.Set && (d.End.Seconds != 0 || d.End.Nanos != 0)
	endNS, endOK := time(d.End, lim.MaxFutureEnd)
	startNS, startOK := time(d.Start, lim.MaxClockSkew)
	switch {
	case !id(d.Token, true) || !id(d.Holder, true) || !id(d.HoldID, false):
		return false
	case end && !endOK:
		return false
	case d.Start.Set && !startOK:
		return false
	case !d.Start.Set && !end && !(d.Retract && d.HoldID != ""):
		return false
	case d.Start.Set && end && endNS.Cmp(startNS) < 0:
		return false
	}
	if _, ok := decimalOf(d.Weight); !ok {
		return false
	}
	return d.WeightExact == "" || exactWeight.MatchString(d.WeightExact)
}

var tenTo37 = new(big.Int).Exp(big.NewInt(10), big.NewInt(37), nil)

// decimalOf is the weight of a double, with math/big alone: "A double on the wire
// is its shortest decimal form rounded half-even to 18 fractional digits."
func decimalOf(f float64) (units *big.Int, ok bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return nil, false
	}
	// A Rat reads "-0" as 0.
	value, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'f', -1, 64))
	if !ok || value.Cmp(new(big.Rat).SetInt(tenTo37)) >= 0 {
		return nil, false
	}
	value.Mul(value, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)))
	whole, rest := new(big.Int).QuoRem(value.Num(), value.Denom(), new(big.Int))
	switch rest.Lsh(rest, 1).Cmp(value.Denom()) {
	case 1:
		whole.Add(whole, big.NewInt(1))
	case 0:
		whole.Add(whole, new(big.Int).And(whole, big.NewInt(1)))
	}
	return whole, true
}

func FuzzWeightFromFloat(f *testing.F) {
	for _, v := range []float64{0, 1, 0.1, 2.5, 1e-18, 5e-19, 1.5e-18, 2.5e-18, 1e36, 1e37, 123456789.123456789, 1 << 53, 1<<53 + 2, 9.999999999999998e36, 0.3333333333333333, 1e22, 1e23, 4.35e-17} {
		f.Add(v)
		f.Add(math.Nextafter(v, 0))
		f.Add(math.Nextafter(v, math.Inf(1)))
	}
	f.Fuzz(func(t *testing.T, v float64) {
		w, err := hold.WeightFromFloat(v)
		want, ok := decimalOf(v)
		if ok != (err == nil) {
			t.Fatalf("%v: %v, want accepted %v", v, err, ok)
		}
		if err != nil {
			if !errors.Is(err, hold.ErrWeight) {
				t.Fatalf("%v: %v is no ErrWeight", v, err)
			}
			return
		}
		if got := modelWeight(w); got.Cmp(want) != 0 {
			t.Fatalf("%v is %v units, want %v", v, got, want)
		}
		if back, err := hold.ParseWeight(w.String()); err != nil || back != w {
			t.Fatalf("%s comes back as %s, %v", w, back, err)
		}
		// The nearest double of a weight that was not rounded is the double it came from.
		if v >= 1 && v < 1e15 || v == 0 {
			if exact, _ := new(big.Rat).SetString(strconv.FormatFloat(v, 'f', -1, 64)); new(big.Rat).SetFrac(want, new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)).Cmp(exact) == 0 && w.Float64() != math.Abs(v) {
				t.Fatalf("%v comes back as %v", v, w.Float64())
			}
		}
	})
}

func FuzzParseWeight(f *testing.F) {
	for _, s := range []string{"0", "1", "1.0", "007.5", "1.", ".5", "+1", "1e3", "9999999999999999999999999999999999999.999999999999999999", "99999999999999999999999999999999999999", "0.0000000000000000001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := hold.ParseWeight(s)
		if want := exactWeight.MatchString(s); want != (err == nil) {
			t.Fatalf("%q: %v, want accepted %v", s, err, want)
		}
		if err != nil {
			if !errors.Is(err, hold.ErrWeight) {
				t.Fatalf("%q: %v is no ErrWeight", s, err)
			}
			return
		}
		value, _ := new(big.Rat).SetString(s)
		value.Mul(value, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)))
		if !value.IsInt() || modelWeight(w).Cmp(value.Num()) != 0 {
			t.Fatalf("%q is %v units, want %v", s, modelWeight(w), value)
		}
		if got, want := w.String(), decimal(modelWeight(w), 18); got != want {
			t.Fatalf("%q prints as %s, want %s", s, got, want)
		}
		units := w.Units()
		if back, err := hold.WeightFromUnits(units); err != nil || back != w {
			t.Fatalf("%q: units %v come back as %s, %v", s, units, back, err)
		}
	})
}
