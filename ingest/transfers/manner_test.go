package transfers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/times"
)

// raw writes a file as it stands.
func raw(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOptionsStayTheSame goes on from balances with every option that changes figures.
func TestOptionsStayTheSame(t *testing.T) {
	t.Parallel()
	const upper, lower = "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, tt := range map[string]struct {
		before, after Options
		rows          string // of the second day; empty: one of an address
		want          string // in the error; empty: none
	}{
		"nothing":            {want: ""},
		"round":              {before: Options{Round: RoundDown}, want: `with --round "down", and this is without --round`},
		"another round":      {before: Options{Round: RoundDown}, after: Options{Round: RoundHalfEven}, want: `this is with --round "half-even"`},
		"time unit":          {after: Options{Times: times.Reader{Unit: times.Milliseconds}}, want: `without --time-unit, and this is with --time-unit "ms"`},
		"null":               {before: Options{Null: []string{"dead", "burn"}}, after: Options{Null: []string{"burn"}}, want: `with --null "burn" --null "dead"`},
		"null in any order":  {before: Options{Null: []string{"dead", "burn", "dead"}}, after: Options{Null: []string{"burn", "dead"}}},
		"ids":                {before: Options{Holders: IDsEVM}, after: Options{Holders: IDsNone}, want: "their holders were made with --ids evm, and this is --ids none"},
		"ids the other way":  {before: Options{}, after: Options{Holders: IDsEVM}, want: "their holders were made with --ids none, and this is --ids evm"},
		"ids that are open":  {before: Options{Holders: IDsEVM}, after: Options{Holders: IDsAuto}, rows: "T,zero," + upper + ",1,20\nT,zero,ben,1,20"},
		"ids found":          {before: Options{Holders: IDsAuto}, after: Options{Holders: IDsAuto}},
		"ids found too late": {before: Options{Holders: IDsNone}, after: Options{Holders: IDsAuto}, want: "give --ids none"},
		"ids in lower case":  {before: Options{Holders: IDsNone}, after: Options{Holders: IDsAuto}, rows: "T,zero," + lower + ",1,20"},
		"fewer tokens":       {after: Options{TokenIs: []string{"T"}}},
		"more tokens":        {before: Options{TokenIs: []string{"T"}}, want: `with --token-is "T", and this is without --token-is`},
		"fewer again":        {before: Options{TokenIs: []string{"T", "U"}}, after: Options{TokenIs: []string{"T"}}},
		"one left out":       {after: Options{TokenIsNot: []string{"U"}}},
		"one taken in":       {before: Options{TokenIsNot: []string{"U"}}, want: `with --token-is-not "U"`},
		"thousands":          {after: Options{Times: times.Reader{}, Numbers: numbers.Format{Thousands: "."}}, want: `with --thousands "."`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			day := "T,zero," + upper + ",5,10"
			if name == "ids found too late" || name == "ids in lower case" || name == "ids the other way" {
				day = "T,zero," + lower + ",5,10"
			}
			opening := close1(t, tt.before, "", "closing.csv", day)
			lines := []string{"T,zero," + upper + ",1,20"}
			if tt.rows != "" {
				lines = strings.Split(tt.rows, "\n")
			}
			_, _, err := read(t, tt.after, opening, file(t, "t.csv", lines...))
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrOpening) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestIDsContinue: the second day has no address alone, so that it would be read as it
// stands if the first had not been.
func TestIDsContinue(t *testing.T) {
	t.Parallel()
	const upper, lower = "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	opening := close1(t, Options{Holders: IDsAuto}, "", "closing.csv", "T,zero,"+upper+",5,10")
	got, _, err := read(t, Options{Holders: IDsAuto}, opening, file(t, "t.csv", "T,"+upper+",ben,5,20"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "T "+lower+" 10-open x5", "T "+lower+" 10-20 x5", "T ben 20-open x5")
}

// TestDecimalsOfAFileContinue: the second day does not say the decimals of its token.
func TestDecimalsOfAFileContinue(t *testing.T) {
	t.Parallel()
	const stated = "contract_address,from_address,to_address,delta,block_signed_at,contract_decimals\nT,,ann,500,10,2\nU,,ann,5,10,\n"
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Events(t.Context(), raw(t, stated)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	closing := raw(t, "")
	if err := l.SaveClosing(closing); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(closing)
	if err != nil || !strings.Contains(string(text), "T,ann,5,10,,2,\nU,ann,5,10,,,\n") {
		t.Fatalf("%s%v", text, err)
	}
	day := func(header, row string) ([]string, error) {
		l, err := New(Options{})
		if err != nil {
			return nil, err
		}
		if err := l.LoadOpening(closing); err != nil {
			return nil, err
		}
		var got []string
		for e, err := range l.Events(t.Context(), raw(t, header+row)) {
			if err != nil {
				return nil, err
			}
			got = append(got, say(e))
		}
		return got, nil
	}
	const header = "contract_address,from_address,to_address,delta,block_signed_at\n"
	got, err := day(header, "T,ann,ben,300,20\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "T ann 10-open x5", "U ann 10-open x5", "T ann 10-20 x5", "T ann 20-open x2", "T ben 20-open x3")
	if _, err := day(strings.TrimSuffix(header, "\n")+",contract_decimals\n", "T,ann,ben,300,20,3\n"); !errors.Is(err, ErrDecimals) {
		t.Errorf("other decimals: %v", err)
	}
}

// TestABadTokenStaysLeftOut: what its holders had on the first day is not known.
func TestABadTokenStaysLeftOut(t *testing.T) {
	t.Parallel()
	skip := Options{SkipBadTokens: true}
	first := close1(t, skip, "", "1.csv", "BAD,ann,ben,5,10", "T,zero,ann,5,10")
	second := close1(t, skip, first, "2.csv", "T,ann,ben,1,20")
	if _, _, err := read(t, Options{}, second, file(t, "t.csv", "BAD,zero,ann,5,30")); !errors.Is(err, ErrOpening) || !strings.Contains(err.Error(), "token BAD was left out") {
		t.Errorf("%v", err)
	}
	got, l, err := read(t, skip, second, file(t, "t.csv", "BAD,zero,ann,5,30", "T,ann,ben,1,30"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "T ann 20-open x4", "T ben 20-open x1", "T ann 20-30 x4", "T ann 30-open x3", "T ben 20-30 x1", "T ben 30-open x2")
	if bad := l.Summary().Bad; len(bad) != 1 || bad[0].Token != "BAD" {
		t.Errorf("%v", bad)
	}
	if _, _, err := read(t, Options{TokenIsNot: []string{"BAD"}}, second, file(t, "t.csv", "BAD,zero,ann,5,30")); err != nil {
		t.Error(err)
	}
}
