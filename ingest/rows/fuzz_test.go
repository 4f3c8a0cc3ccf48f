package rows

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// FuzzTable reads any bytes as a file of rows. Reading ends, and where a file is read in
// blocks without an error, the rows are those of the general way.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{
		"", "a\n1\n", "token_id,holder_id\nGOLD,alice\n\"a,b\",\"c\"\"d\"\n,\n", "sep=;\na;b\n1;2\n", "\xef\xbb\xbfa,b\r\n'=1,\t2\r\n",
		`[{"a":1},{"b":"x","a":null}]`, "{\"a\":{\"$date\":\"2026-01-01T00:00:00Z\"}}\n{\"a\":2}\n", "PAR1", "\x1f\x8b", "\x28\xb5\x2f\xfd", "a,b\n\"open\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		open := func() *Table {
			file, err := newFile("fuzzed", io.NopCloser(bytes.NewReader(data)), nil)
			if err != nil {
				return nil
			}
			table, err := NewTable(file)
			if err != nil {
				return nil
			}
			return table
		}
		table := open()
		if table == nil {
			return
		}
		defer table.Close()
		var rows [][]string
		for {
			row, _, err := table.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			rows = append(rows, slices.Clone(row))
			if len(rows) > len(data)+1 {
				t.Fatalf("%d rows of %d bytes", len(rows), len(data))
			}
		}
		again := open()
		defer again.Close()
		blocks := again.Blocks()
		if blocks == nil {
			return
		}
		reader, at := blocks.Reader(), 0
		for buf := make([]byte, 64); ; {
			var block Block
			var err error
			if block, buf, err = blocks.Next(buf); err != nil {
				break // also what the other way reads: this one gives up earlier
			}
			reader.Reset(block)
			for {
				row, _, err := reader.Next()
				if err != nil {
					if !errors.Is(err, io.EOF) {
						return
					}
					break
				}
				if at >= len(rows) || !slices.Equal(row, rows[at]) {
					t.Fatalf("row %d is %q in blocks, and the rows are %q", at, row, rows)
				}
				at++
			}
		}
	})
}

// FuzzEscapeFormula writes any text as a cell: it is read back, and no cell that is no
// number begins as a formula does.
func FuzzEscapeFormula(f *testing.F) {
	for _, seed := range []string{"", "=1+1", "'=1", "-5", "-5-5", " @x", "\u200b=1", "alice", "''"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cell := EscapeFormula(s)
		if got := unescapeFormula(cell); got != s {
			t.Fatalf("%q becomes %q and is read as %q", s, cell, got)
		}
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) && !isNumber(cell) {
			t.Fatalf("%q becomes %q, which is a formula", s, cell)
		}
	})
}
