package rows_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
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

// Parquet in blocks has the rows that it has in order, in groups and pages of any size.
// Damaged data is an error or gives rows, the same ones if both ways of reading take it;
// it is no panic and no endless reading.
func TestBlocksOfParquet(t *testing.T) {
	t.Parallel()
	type record struct {
		ID    string    `parquet:"id,dict"`
		Hash  []byte    `parquet:"hash"`
		At    time.Time `parquet:"at,timestamp(millisecond)"`
		Big   int64     `parquet:"big,decimal(2:18)"`
		Small int32     `parquet:"small"`
		Large uint64    `parquet:"large"`
		Float float64   `parquet:"float"`
		Maybe *string   `parquet:"maybe,optional"`
		Flag  bool      `parquet:"flag"`
	}
	name := filepath.Join(t.TempDir(), "f.parquet")
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[record](&b, parquet.MaxRowsPerRowGroup(rapid.SampledFrom([]int64{7, 300, 10_000}).Draw(t, "rows of a group")),
			parquet.PageBufferSize(rapid.SampledFrom([]int{64, 1 << 16}).Draw(t, "page")))
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for range rapid.SampledFrom([]int{0, 1, 20, 255, 256, 700}).Draw(t, "rows") {
			r := record{ID: " h" + strconv.Itoa(random.IntN(9)), Hash: []byte{byte(random.IntN(4)), 'x'}, At: time.UnixMilli(random.Int64N(5_000)),
				Big: random.Int64N(9) - 4, Small: random.Int32(), Large: random.Uint64(), Float: random.Float64(), Flag: random.IntN(2) == 0}
			if random.IntN(2) == 0 {
				r.Maybe = &r.ID
			}
			if _, err := w.Write([]record{r}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data := b.Bytes()
		flips := rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "damage")
		for range flips {
			data[rapid.IntRange(4, len(data)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		want, _, wantErr := inOrder(name)
		got, _, err := inBlocks(name, rapid.SampledFrom([]int{1, 500, 1 << 16}).Draw(t, "size"))
		switch {
		case flips == 0 && (err != nil || wantErr != nil):
			t.Fatalf("in blocks %v, in order %v", err, wantErr)
		case err != nil || wantErr != nil:
		case fmt.Sprint(got) != fmt.Sprint(want):
			t.Fatalf("\nin blocks %q\nin order %q", got, want)
		default:
			read++
		}
	})
	if read == 0 {
		t.Error("no file was read")
	}
}

// Lists have any number of values a row, and are read row by row.
func TestNoBlocksOfLists(t *testing.T) {
	t.Parallel()
	type record struct {
		ID  string  `parquet:"id"`
		IDs []int64 `parquet:"ids,list"`
	}
	name := filepath.Join(t.TempDir(), "f.parquet")
	if err := parquet.WriteFile(name, []record{{"a", []int64{1, 2}}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := inBlocks(name, 100); !errors.Is(err, rows.ErrBlocks) {
		t.Error(err)
	}
}
