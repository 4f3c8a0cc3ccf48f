package transfers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdmetrics/ingest/rows"
)

// close1 reads rows and writes their balances.
func close1(t *testing.T, opt Options, opening, name string, lines ...string) string {
	t.Helper()
	_, l, err := read(t, opt, opening, file(t, "t.csv", lines...))
	if err != nil {
		t.Fatal(err)
	}
	closing := filepath.Join(t.TempDir(), name)
	if err := l.SaveClosing(closing); err != nil {
		t.Fatal(err)
	}
	return closing
}

func TestADayIsNotReplayed(t *testing.T) {
	t.Parallel()
	// Nobody has anything left, and the last transfer changed nothing.
	day := []string{"T,zero,a,5,10", "T,a,zero,5,20", "T,zero,zero,1,30"}
	empty := close1(t, Options{}, "", "closing.csv", day...)
	for _, at := range []string{"10", "20", "30"} {
		if _, _, err := read(t, Options{}, empty, file(t, "t.csv", "T,zero,a,5,"+at)); !errors.Is(err, ErrOpening) {
			t.Errorf("a row at %s: got %v", at, err)
		}
	}
	if got, _, err := read(t, Options{}, empty, file(t, "t.csv", "T,zero,a,5,31")); err != nil {
		t.Errorf("a later row: %v", err)
	} else {
		same(t, got, "T a 31-open x5")
	}
	// A day without transfers does not lose the time.
	again := close1(t, Options{}, empty, "closing.csv.gz")
	if _, _, err := read(t, Options{}, again, file(t, "t.csv", "T,zero,a,5,30")); !errors.Is(err, ErrOpening) {
		t.Errorf("after a day without transfers: %v", err)
	}
}

func TestUnitsAreNotMixed(t *testing.T) {
	t.Parallel()
	two := close1(t, Options{Decimals: 2}, "", "closing.csv", "T,zero,a,500,10")
	for _, opt := range []Options{{}, {Decimals: 3}, {NFT: true}} {
		if _, _, err := read(t, opt, two, file(t, "t.csv")); !errors.Is(err, ErrOpening) {
			t.Errorf("%+v: got %v", opt, err)
		}
	}
	if _, _, err := read(t, Options{Decimals: 2}, two, file(t, "t.csv")); err != nil {
		t.Error(err)
	}
}

func TestClosingIsPackedWhereItsNameSaysSo(t *testing.T) {
	t.Parallel()
	packed := close1(t, Options{}, "", "closing.csv.gz", "T,zero,a,5,10")
	data, err := os.ReadFile(packed)
	if err != nil || !strings.HasPrefix(string(data), "\x1f\x8b") {
		t.Errorf("%v, %q", err, data)
	}
	got, _, err := read(t, Options{}, packed, file(t, "t.csv", "T,a,b,5,20"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "T a 10-open x5", "T a 10-20 x5", "T b 20-open x5")
}

func TestOpeningsThatDoNotFit(t *testing.T) {
	t.Parallel()
	const header = "token_id,holder_id,balance,since,as_of,decimals,nft\n"
	for _, tt := range []struct {
		name, text string
		want       error
		line       int
	}{
		{"an older form", "token_id,holder_id,balance,since\n", rows.ErrHeader, 1},
		{"cut", header + "T,a,5,10,,,\n", ErrOpening, 0},
		{"two last rows", header + ",,,,20,0,false\n,,,,20,0,false\n", ErrOpening, 3},
		{"a balance from later", header + "T,a,5,30,,,\n,,,,20,0,false\n", ErrOpening, 0},
		{"a pair twice", header + "T,a,5,10,,,\nT,a,5,10,,,\n", ErrOpening, 3},
		{"no holder", header + "T,,5,10,,,\n", ErrHolder, 2},
		{"a balance of nothing", header + "T,a,0,10,,,\n", ErrOpening, 2},
		{"no time", header + "T,a,5,soon,,,\n", ErrTime, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "opening.csv")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := read(t, Options{}, path)
			var at *rows.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &at) || at.Place.Line != tt.line {
				t.Errorf("got %v, want %v in line %d", err, tt.want, tt.line)
			}
		})
	}
}

func TestClosingIsCheckedFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	input, other := filepath.Join(dir, "in.csv"), filepath.Join(dir, "other.csv")
	for _, name := range []string{input, other} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link.csv")
	if err := os.Symlink(input, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	for _, bad := range []string{"-", dir, input, link, filepath.Join(dir, ".", "in.csv"), filepath.Join(dir, "missing", "c.csv")} {
		if err := CheckClosing(bad, "-", other, input); !errors.Is(err, ErrClosing) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	for _, good := range []string{filepath.Join(dir, "new.csv"), other} {
		if err := CheckClosing(good, "-", input); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("the check left something behind: %v, %v", left, err)
	}
}
