package rows

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEscapeFormula(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, cell string }{
		{"alice", "alice"},
		{"", ""},
		{"0xabc", "0xabc"},
		{"=1+1", "'=1+1"},
		{`=HYPERLINK("http://x","y")`, `'=HYPERLINK("http://x","y")`},
		{"+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"},
		{"-2+3", "'-2+3"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", "'\t=1"},
		{"\rx", "'\rx"},
		{" =1", "' =1"},
		{"\u200b=1", "'\u200b=1"},
		{"\ufeff+1x", "'\ufeff+1x"},
		{"\uff1d1+1", "'\uff1d1+1"},
		{"'=1", "''=1"},
		{"''-x", "'''-x"},
		{"'alice", "'alice"},
		{"o'neil", "o'neil"},
		// Numbers compute nothing and stay numbers.
		{"-5", "-5"},
		{"-0.5", "-0.5"},
		{"+7", "+7"},
		{"-1e-18", "-1e-18"},
		{"-1.5E+3", "-1.5E+3"},
		{"-", "'-"},
		{"-.", "'-."},
		{"--5", "'--5"},
		{"-5-5", "'-5-5"},
		{"-1e", "'-1e"},
		{"-1.2.3", "'-1.2.3"},
		{"-Infinity", "'-Infinity"},
	} {
		if got := EscapeFormula(c.id); got != c.cell {
			t.Errorf("%q becomes %q, want %q", c.id, got, c.cell)
		}
		if got := unescapeFormula(c.cell); got != c.id {
			t.Errorf("%q is read as %q, want %q", c.cell, got, c.id)
		}
	}
}

// Whatever is written is read back by every way to read a table, and by the general
// reader it is no formula.
func TestCSVIsReadBack(t *testing.T) {
	t.Parallel()
	cells := rapid.Custom(func(t *rapid.T) string {
		// What an id may be: no control characters, and nothing invisible at its ends.
		return Trim(rapid.StringOf(rapid.RuneFrom([]rune("=+-@'\"15.e,;| \u00a0\u200b\u202eab\uff1d"))).Draw(t, "cell"))
	})
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(cells, 2, 2), 1, 20).Draw(t, "rows")
		var out bytes.Buffer
		w := NewCSVWriter(&out)
		for _, row := range append([][]string{{"token_id", "holder_id"}}, rows...) {
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		if err := w.Error(); err != nil {
			t.Fatal(err)
		}
		general, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
		if err != nil {
			t.Fatalf("%v in:\n%s", err, &out)
		}
		for _, row := range general {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\uff1d", []rune(strings.TrimLeft(cell, " \u00a0\u200b\u202e"))[0]) && !isNumber(cell) {
					t.Fatalf("the cell %q is a formula", cell)
				}
			}
		}
		var want [][]string
		for _, row := range rows {
			if row[0]+row[1] != "" {
				want = append(want, row) // blank rows are passed over
			}
		}
		open := func() *Table {
			f, err := newFile("rows.csv", io.NopCloser(bytes.NewReader(out.Bytes())), nil)
			if err != nil {
				t.Fatal(err)
			}
			table, err := NewTable(f)
			if err != nil {
				t.Fatal(err)
			}
			return table
		}
		table := open()
		defer table.Close()
		var read [][]string
		for {
			row, _, err := table.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in:\n%s", err, &out)
			}
			read = append(read, cloned(row))
		}
		if d := cmp.Diff(want, read); d != "" {
			t.Fatalf("read row by row: %s of:\n%s", d, &out)
		}
		again := open()
		defer again.Close()
		blocks := again.Blocks()
		if blocks == nil {
			return // the header has quotes
		}
		read = nil
		reader := blocks.Reader()
		for buf := make([]byte, 64); ; {
			var block Block
			var err error
			if block, buf, err = blocks.Next(buf); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			reader.Reset(block)
			for {
				row, _, err := reader.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v in:\n%s", err, &out)
				}
				read = append(read, cloned(row))
			}
		}
		if d := cmp.Diff(want, read); d != "" {
			t.Fatalf("read in blocks: %s of:\n%s", d, &out)
		}
	})
}

// cloned returns a copy of a row of which no string is a part of a buffer.
func cloned(row []string) []string {
	c := make([]string, len(row))
	for i := range row {
		c[i] = strings.Clone(row[i])
	}
	return c
}

// What can be seen as little as a mark of direction is escaped on a terminal too.
func TestSafeShowsFillers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, shown string }{
		{"alice bob", "alice bob"},
		{"al\u202eice", `al\u202eice`},
		{"al\u3164ice", `al\u3164ice`},
		{"al\u115fice", `al\u115fice`},
		{"al\u034fice", `al\u034fice`},
		{"al\ufe00ice", `al\ufe00ice`},
		{"al\u00a0ice", `al\u00a0ice`},
		{`say "al"` + "\u3164", `say "al"\u3164`},
		{"Zoë", "Zoë"},
		{"al\xffice", `al\xffice`},
		{"al\x1b[0m", `al\x1b[0m`},
	} {
		if got := Safe(c.id); got != c.shown {
			t.Errorf("%q is shown as %s, want %s", c.id, got, c.shown)
		}
	}
}
