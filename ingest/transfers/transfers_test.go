package transfers

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdmetrics/ingest/rows"
)

const zero = "0x0000000000000000000000000000000000000000"

// file writes rows of token,from,to,value,time with the default header.
func file(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text := "token_address,from_address,to_address,value,block_timestamp\n" + strings.Join(lines, "\n") + "\n"
	text = strings.ReplaceAll(text, "zero", zero)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// say is an event in short: token holder [start, end) weight.
func say(e rows.Event) string {
	end := "open"
	if e.Draft.End.Set {
		end = fmt.Sprint(e.Draft.End.Seconds)
	}
	s := fmt.Sprintf("%s %s %d-%s", e.Draft.Token, e.Draft.Holder, e.Draft.Start.Seconds, end)
	if e.Draft.WeightExact != "" {
		s += " x" + e.Draft.WeightExact
	}
	return s
}

func read(t *testing.T, opt Options, opening string, files ...string) ([]string, *Ledger, error) {
	t.Helper()
	if opt.Columns == (Columns{}) {
		opt.Columns = DefaultColumns()
	}
	l, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if opening != "" {
		if err := l.LoadOpening(opening); err != nil {
			return nil, l, err
		}
	}
	var got []string
	for e, err := range l.Events(t.Context(), files...) {
		if err != nil {
			return got, l, err
		}
		got = append(got, say(e))
	}
	return got, l, nil
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestBalancesBecomeHolds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opt  Options
		rows []string
		want []string
	}{
		{
			name: "each change closes a hold and opens one",
			rows: []string{"T,zero,a,5,10", "T,zero,a,7,20", "T,a,b,12,30"},
			want: []string{"T a 10-open x5", "T a 10-20 x5", "T a 20-open x12", "T a 20-30 x12", "T b 30-open x12"},
		},
		{
			name: "one timestamp is netted whatever the order of its rows",
			rows: []string{"T,b,c,5,10", "T,a,b,5,10", "T,zero,a,5,10"},
			want: []string{"T c 10-open x5"},
		},
		{
			name: "a transfer to oneself and a transfer of nothing change nothing",
			rows: []string{"T,zero,a,5,10", "T,a,a,5,20", "T,a,b,0,30"},
			want: []string{"T a 10-open x5"},
		},
		{
			name: "a balance that comes back within its timestamp is the same hold",
			rows: []string{"T,zero,a,5,10", "T,a,b,5,20", "T,b,a,5,20"},
			want: []string{"T a 10-open x5"},
		},
		{
			name: "events of one timestamp are ordered by token, then holder",
			rows: []string{"U,zero,a,1,10", "T,zero,b,2,10", "T,zero,a,3,10"},
			want: []string{"T a 10-open x3", "T b 10-open x2", "U a 10-open x1"},
		},
		{
			name: "rows stand in any order",
			rows: []string{"T,a,b,12,30", "T,zero,a,7,20", "T,zero,a,5,10"},
			want: []string{"T a 10-open x5", "T a 10-20 x5", "T a 20-open x12", "T a 20-30 x12", "T b 30-open x12"},
		},
		{
			name: "numbers in other spellings",
			rows: []string{"T,zero,a,1e18,10", "T,zero,b,+2.50,10", "T,zero,c,0x10,10"},
			want: []string{"T a 10-open x1000000000000000000", "T b 10-open x2.5", "T c 10-open x16"},
		},
		{
			name: "burning is a transfer to nobody",
			rows: []string{"T,zero,a,5,10", "T,a,zero,5,20", "T,zero,a,1,30"},
			want: []string{"T a 10-open x5", "T a 10-20 x5", "T a 30-open x1"},
		},
		{
			name: "decimals divide, exactly",
			opt:  Options{Decimals: 18},
			rows: []string{"T,zero,a,1,10", "T,zero,b,1000000000000000000,10", "T,zero,c,1234567890123456789012345678901234567000000000000000001,10"},
			want: []string{"T a 10-open x0.000000000000000001", "T b 10-open x1", "T c 10-open x1234567890123456789012345678901234567.000000000000000001"},
		},
		{
			name: "a decimal stands as it is",
			rows: []string{"T,zero,a,0012.50,10"},
			want: []string{"T a 10-open x12.5"},
		},
		{
			name: "the three forms of a time",
			rows: []string{"T,zero,a,1,1611072272", "T,zero,b,1,2021-01-19 16:04:33 UTC", "T,zero,c,1,2021-01-19T17:04:34+01:00"},
			want: []string{"T a 1611072272-open x1", "T b 1611072273-open x1", "T c 1611072274-open x1"},
		},
		{
			name: "an NFT's id is a token of its own",
			opt:  Options{NFT: true},
			rows: []string{"N,zero,a,7,10", "N,zero,a,8,10", "N,b,c,7,20", "N,a,b,7,20"},
			want: []string{"N/7 a 10-open", "N/8 a 10-open", "N/7 a 10-20", "N/7 c 20-open"},
		},
		{
			name: "an NFT that is burnt may be minted again",
			opt:  Options{NFT: true},
			rows: []string{"N,zero,a,7,10", "N,a,zero,7,20", "N,zero,b,7,30"},
			want: []string{"N/7 a 10-open", "N/7 a 10-20", "N/7 b 30-open"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, l, err := read(t, tt.opt, "", file(t, "t.csv", tt.rows...))
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, tt.want...)
			if l.Rows() != int64(len(tt.rows)) {
				t.Errorf("%d rows, want %d", l.Rows(), len(tt.rows))
			}
		})
	}
}

func TestBadRowsAreNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opt  Options
		rows []string
		want error
		line int
	}{
		{"a negative balance", Options{}, []string{"T,zero,a,5,10", "T,a,b,6,20", "T,zero,c,1,20"}, ErrOverdraw, 3},
		{"38 digits", Options{}, []string{"T,zero,a," + strings.Repeat("9", 38) + ",10"}, ErrTooLarge, 2},
		{"a balance of 38 digits", Options{}, []string{"T,zero,a," + strings.Repeat("9", 37) + ",10", "T,zero,a,1,20"}, ErrTooLarge, 3},
		{"a negative value", Options{}, []string{"T,zero,a,-1,10"}, ErrValue, 2},
		{"an exponent of nothing", Options{}, []string{"T,zero,a,1e,10"}, ErrValue, 2},
		{"places that are not exact", Options{}, []string{"T,zero,a,1e-19,10"}, ErrPlaces, 2},
		{"no value", Options{}, []string{"T,zero,a,,10"}, ErrValue, 2},
		{"no token", Options{}, []string{",zero,a,1,10"}, ErrToken, 2},
		{"no time", Options{}, []string{"T,zero,a,1,"}, ErrTime, 2},
		{"the epoch", Options{}, []string{"T,zero,a,1,0"}, ErrTime, 2},
		{"after 2200", Options{}, []string{"T,zero,a,1,7258118401"}, ErrTime, 2},
		{"an NFT of somebody else", Options{NFT: true}, []string{"N,zero,a,7,10", "N,b,c,7,20"}, ErrOwner, 3},
		{"an NFT that is minted twice", Options{NFT: true}, []string{"N,zero,a,7,10", "N,zero,b,7,20"}, ErrTwice, 3},
		{"an NFT that is minted twice to one owner", Options{NFT: true}, []string{"N,zero,a,7,10", "N,zero,a,7,20"}, ErrTwice, 3},
		{"an NFT's id", Options{NFT: true}, []string{"N,zero,a,x,10"}, ErrValue, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "t.csv", tt.rows...)
			_, _, err := read(t, tt.opt, "", path)
			var at *rows.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &at) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if want := (rows.Place{File: path, Line: tt.line}); at.Place != want {
				t.Errorf("placed at %s, want %s", at.Place, want)
			}
		})
	}
}

func TestClosingContinuesAsOpening(t *testing.T) {
	t.Parallel()
	day1 := []string{"T,zero,a,5,10", "T,zero,b,1,20"}
	day2 := []string{"T,a,b,2,30", "T,b,zero,3,40"}
	whole, all, err := read(t, Options{}, "", file(t, "all.csv", append(day1, day2...)...))
	if err != nil {
		t.Fatal(err)
	}
	first, l, err := read(t, Options{}, "", file(t, "1.csv", day1...))
	if err != nil {
		t.Fatal(err)
	}
	closing := filepath.Join(t.TempDir(), "closing.csv")
	if err := l.SaveClosing(closing); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(closing)
	if err != nil {
		t.Fatal(err)
	}
	same(t, strings.Split(strings.TrimSpace(string(text)), "\n"), "token_id,holder_id,balance,since,as_of,decimals,nft", "T,a,5,10,,,", "T,b,1,20,,,", ",,,,20,0,false")

	second, l, err := read(t, Options{}, closing, file(t, "2.csv", day2...))
	if err != nil {
		t.Fatal(err)
	}
	// The opening balances come first, as the open holds that day 1 gave.
	same(t, second[:2], "T a 10-open x5", "T b 20-open x1")
	same(t, append(first, second[2:]...), whole...)

	ends := [2]string{filepath.Join(t.TempDir(), "a.csv"), filepath.Join(t.TempDir(), "b.csv")}
	if err := errors.Join(l.SaveClosing(ends[0]), all.SaveClosing(ends[1])); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(ends[0])
	b, _ := os.ReadFile(ends[1])
	if string(a) != string(b) {
		t.Errorf("closing balances differ:\n%s\n%s", a, b)
	}

	if _, _, err := read(t, Options{}, closing, file(t, "again.csv", day1...)); !errors.Is(err, ErrOpening) {
		t.Errorf("rows that the opening balances hold already: got %v", err)
	}
}

func TestSeveralFilesAreOne(t *testing.T) {
	t.Parallel()
	got, _, err := read(t, Options{}, "",
		file(t, "1.csv", "T,a,b,5,10"), file(t, "2.csv", "T,zero,a,5,10", "T,b,zero,1,20"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "T b 10-open x5", "T b 10-20 x5", "T b 20-open x4")
}

// A run that looks for bad tokens comes before the one that is reported.
func TestStatementsAreCountedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "b.csv")
	text := "token_id,holder_id,balance,time\nT,a,5,10\nT,a,5,10\nT,,7,10\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []Options{{Statements: true}, {Statements: true, SkipBadTokens: true}, {Statements: true, Unchecked: true}} {
		opt.Columns.Token = "token_id"
		_, l, err := read(t, opt, "", path)
		if err != nil {
			t.Fatal(err)
		}
		s := l.Summary()
		if s.EqualStatements != 1 || s.OfNobody != 1 || s.Equal != 0 {
			t.Errorf("skip %t: %d equal statements, %d of nobody and %d equal rows, want 1, 1 and 0", opt.SkipBadTokens, s.EqualStatements, s.OfNobody, s.Equal)
		}
	}
}

func TestHalfAnIdentityIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "t.csv")
	text := "token_address,from_address,to_address,value,block_timestamp,tx,place,part\nT,,a,5,10,0xab,1,0\nT,,a,5,10,0xab,1,0\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ tx, index, batch, hint string }{
		{"tx", "", "", "--log-index"},
		{"", "place", "", "--tx"},
		{"", "", "part", "--tx"},
		{"tx", "place", "", ""},
	}
	for _, tt := range tests {
		c := DefaultColumns()
		c.Tx, c.LogIndex, c.Batch = tt.tx, tt.index, tt.batch
		_, l, err := read(t, Options{Columns: c}, "", path)
		if tt.hint == "" {
			if err != nil || l.Summary().Duplicates != 1 {
				t.Errorf("%+v: %v, %d duplicates, want 1", tt, err, l.Summary().Duplicates)
			}
			continue
		}
		if !errors.Is(err, ErrColumns) || !strings.Contains(err.Error(), tt.hint) {
			t.Errorf("%+v: %v, want an error that names %s", tt, err, tt.hint)
		}
	}
}

func TestMarksAndBatchesThatDoNotFitAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"token_address,from_address,to_address,value,block_timestamp,removed\nT,,a,5,10,maybe\n":       ErrMark,
		"token_address,from_address,to_address,ids,value,block_timestamp\nT,,a,\"[7,8]\",\"[5]\",10\n": ErrBatch,
	} {
		path := filepath.Join(t.TempDir(), "t.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(t, Options{}, "", path); !errors.Is(err, want) || errors.Is(err, ErrValue) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestFilesThatDoNotFit(t *testing.T) {
	t.Parallel()
	plain := file(t, "t.csv", "T,zero,a,5,10")
	_, _, err := read(t, Options{Columns: Columns{Token: "pool", From: "from_address", To: "to_address", Value: "value", Time: "block_timestamp"}}, "", plain)
	if !errors.Is(err, rows.ErrHeader) || !strings.Contains(err.Error(), `"pool"`) {
		t.Errorf("a missing column: %v", err)
	}

	short := file(t, "short.csv", "T,zero,a,5,10", "T,zero,a")
	if _, _, err := read(t, Options{}, "", short); err == nil || !strings.HasPrefix(err.Error(), short+":3: ") {
		t.Errorf("a short row: %v", err)
	}

	cut := filepath.Join(t.TempDir(), "cut.csv.gz")
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	var packed strings.Builder
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, []byte(packed.String()[:packed.Len()-10]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, Options{}, "", cut); err == nil || !strings.Contains(err.Error(), "ends too early") {
		t.Errorf("a gzip file that was cut: %v", err)
	}
}

// DefaultColumns are the names that ethereum-etl gives.
func DefaultColumns() Columns {
	return Columns{
		Token: "token_address",
		From:  "from_address",
		To:    "to_address",
		Value: "value",
		Time:  "block_timestamp",
	}
}
