package rows_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/ingest/rows"
)

// inBlocks reads a table in blocks of about some bytes. It returns the rows with their
// lines, and the header lines that were passed over.
func inBlocks(name string, size int) (all []string, repeated int64, err error) {
	table, err := rows.OpenTable(name, nil)
	if err != nil {
		return nil, 0, err
	}
	defer table.Close()
	blocks := table.Blocks()
	if blocks == nil {
		return nil, 0, rows.ErrBlocks
	}
	reader := blocks.Reader()
	buf := make([]byte, size)
	for {
		block, larger, err := blocks.Next(buf)
		if err == io.EOF {
			return all, reader.Repeated(), nil
		}
		if err != nil {
			return nil, 0, err
		}
		reader.Reset(block)
		for {
			row, line, err := reader.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, 0, err
			}
			all = append(all, fmt.Sprintf("%d %q", line, row))
		}
		buf = larger
	}
}

// inOrder reads a table row by row.
func inOrder(name string) (all []string, repeated int64, err error) {
	table, err := rows.OpenTable(name, nil)
	if err != nil {
		return nil, 0, err
	}
	defer table.Close()
	for {
		row, place, err := table.Next()
		if err == io.EOF {
			return all, table.Repeated(), nil
		}
		if err != nil {
			return nil, 0, err
		}
		all = append(all, fmt.Sprintf("%d %q", place.Line, row))
	}
}

// In blocks of whatever size, a file has the rows that it has in order. A file with a row
// that is wrong has none in blocks.
func TestBlocksHaveTheRows(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "f.csv")
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.SampledFrom([]string{"", "a", "b", "x y", " c ", "\u00a0d", `"q"`, `"a` + "\n" + `b"`, `"a""b"`, `"a,b"`, `"` + "\r\n" + `"`, "long long long long text"})
		bad := rapid.SampledFrom([]string{"", "", "", "", `x"y`, `"open`, ",", "a,b,c,d"}).Draw(t, "bad")
		var b strings.Builder
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		b.WriteString("one,two,three" + end)
		plain := rapid.Bool().Draw(t, "plain")
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			row := []string{cell.Draw(t, "cell"), cell.Draw(t, "cell"), cell.Draw(t, "cell")}
			text := strings.Join(row, ",")
			if plain {
				text = strings.NewReplacer(`"`, "", "\n", "", "\r", "").Replace(text)
				text = strings.Join(append(strings.Split(text, ","), "", "")[:3], ",")
			}
			b.WriteString(text + end)
			switch rapid.IntRange(0, 30).Draw(t, "odd") {
			case 0:
				b.WriteString(end)
			case 1:
				b.WriteString(" \t" + end)
			case 2:
				b.WriteString("one,two,three" + end)
			case 3:
				b.WriteString(",," + end)
			case 4:
				if bad != "" {
					b.WriteString(bad + end)
				}
			}
		}
		text := b.String()
		if rapid.Bool().Draw(t, "cut") {
			text = strings.TrimSuffix(text, end)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want, headers, wantErr := inOrder(name)
		got, repeated, err := inBlocks(name, rapid.SampledFrom([]int{1, 20, 50, 1 << 16}).Draw(t, "size"))
		switch {
		case wantErr != nil && err == nil:
			t.Fatalf("%q: in blocks it has %q, and in order %v", text, got, wantErr)
		case wantErr != nil:
		case err != nil:
			t.Fatalf("%q: %v, and in order it has %q", text, err, want)
		case fmt.Sprint(got) != fmt.Sprint(want) || repeated != headers:
			t.Fatalf("%q:\nin blocks %q, %d headers\nin order %q, %d headers", text, got, repeated, want, headers)
		default:
			read++
		}
	})
	if read == 0 {
		t.Error("no file was read")
	}
}

// A file of another kind, or with quotes in its header, is not cut.
func TestNoBlocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"json": `{"a":1}`, "quoted": "\"a\",b\n1,2\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := inBlocks(path, 100); !errors.Is(err, rows.ErrBlocks) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
