package rows

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, data []byte) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// readTable gives the first cells of all rows that can be read.
func readTable(f *File) (cells []string, bad []error, last error) {
	table, err := NewTable(f)
	for err == nil {
		var row []string
		row, _, err = table.Next()
		if errors.Is(err, ErrFields) {
			bad, err = append(bad, err), nil
			continue
		}
		if err == nil {
			cells = append(cells, row[0])
		}
	}
	return cells, bad, err
}

func TestARowOfAnotherLengthIsPassedOver(t *testing.T) {
	t.Parallel()
	f := write(t, []byte("a,b\n1,2\n3\n4,5\n"))
	cells, bad, err := readTable(f)
	if strings.Join(cells, " ") != "1 4" || len(bad) != 1 || err != io.EOF {
		t.Fatalf("got %q, %v, %v", cells, bad, err)
	}
	if want := f.Name() + ":3: the row has another number of fields than the header, which has 2"; bad[0].Error() != want {
		t.Errorf("got %q, want %q", bad[0], want)
	}
}

func TestAnOpenQuoteIsPlacedWhereItsRowStarts(t *testing.T) {
	t.Parallel()
	f := write(t, []byte("a,b\n1,2\n3,\"4\n5,6\n7,8\n"))
	cells, _, err := readTable(f)
	if len(cells) != 1 || err == nil || !strings.HasPrefix(err.Error(), f.Name()+":3: the quotes of the row that starts here") {
		t.Errorf("got %q, %v", cells, err)
	}
}

func TestADamagedGzipNamesTheLineReached(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	text.WriteString("a,b\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d,%d\n", i, i*i)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cut := packed.Bytes()[:packed.Len()/2]

	f := write(t, cut)
	cells, _, err := readTable(f)
	want := fmt.Sprintf("%s:%d: the file ends too early", f.Name(), len(cells)+2)
	if len(cells) == 0 || err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("table: got %v, want %s", err, want)
	}

	f = write(t, cut)
	lines, n := NewLines(f), 0
	for {
		if _, _, ok := lines.Next(); !ok {
			break
		}
		n++
	}
	want = fmt.Sprintf("%s:%d: the file ends too early", f.Name(), n+1)
	if err := lines.Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("lines: got %v, want %s", err, want)
	}
}

func TestErrorsShowLittleOfAFile(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	f := write(t, []byte(strings.Repeat(long+"1,", 50)+"b\n"))
	if _, _, err := readTable(f); err == nil || len(err.Error()) > len(f.Name())+200 {
		t.Errorf("a column twice: %d bytes", len(err.Error()))
	}
	f = write(t, []byte(long+","+long+"2,"+long+"3,b\n"))
	table, err := NewTable(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Column("missing"); len(err.Error()) > len(f.Name())+260 {
		t.Errorf("a missing column: %d bytes", len(err.Error()))
	}
	if got := Clip(strings.Repeat("ä", 100)); got != strings.Repeat("ä", 30)+"..." {
		t.Errorf("got %q", got)
	}
}
