package rows

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// readAll returns the rows of a file as maps from the names of its columns, without empty cells.
func readAll(f *File) (all []map[string]string, err error) {
	table, err := NewTable(f)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	for {
		row, _, err := table.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		m := map[string]string{}
		for i, cell := range row {
			if cell != "" {
				m[table.Header()[i]] = cell
			}
		}
		all = append(all, m)
	}
}

func packGzip(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packZstd(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func TestOneTableInManyForms(t *testing.T) {
	t.Parallel()
	want := []map[string]string{{"id": "alice", "n": "1"}, {"id": "bob", "n": "2"}}
	type record struct {
		ID string `parquet:"id"`
		N  int64  `parquet:"n"`
	}
	var pq bytes.Buffer
	if err := parquet.Write(&pq, []record{{"alice", 1}, {"bob", 2}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"csv":                 "id,n\nalice,1\nbob,2\n",
		"no last newline":     "id,n\nalice,1\nbob,2",
		"crlf and BOM":        "\xef\xbb\xbfid,n\r\nalice,1\r\nbob,2\r\n",
		"semicolons":          "id;n\nalice;1\nbob;2\n",
		"tabs":                "id\tn\nalice\t1\nbob\t2\n",
		"bars":                "id|n\nalice|1\nbob|2\n",
		"sep line":            "sep=;\r\nid;n\r\nalice;1\r\nbob;2\r\n",
		"quotes":              "\"id\",\"n\"\nalice,\"1\"\n\"bob\",2\n",
		"blank lines":         "id,n\n\nalice,1\n\n\nbob,2\n",
		"spaces":              "id , n\n alice,1\nbob\u00a0, 2\u200b\n",
		"spaces in quotes":    "id,n\n\" alice\",1\n\"bob \",2\n",
		"the header again":    "id,n\nalice,1\nid,n\nbob,2\n",
		"ndjson":              "{\"id\":\"alice\",\"n\":1}\n{\"id\":\"bob\",\"n\":\"2\"}\n",
		"ndjson, BOM, CRLF":   "\xef\xbb\xbf{\"id\":\"alice\",\"n\":1}\r\n\r\n{\"n\":2,\"id\":\"bob \"}\r\n",
		"array":               `[{"id":"alice","n":1},{"id":"bob","n":2}]`,
		"array of lines":      "[{\"id\":\"alice\",\"n\":1},\n{\"id\":\"bob\",\"n\":2}]\n",
		"pretty array":        "[\n  {\n    \"id\": \"alice\",\n    \"n\": 1\n  },\n  {\n    \"id\": \"bob\",\n    \"n\": 2\n  }\n]\n",
		"pretty objects":      "{\n  \"id\": \"alice\",\n  \"n\": 1\n}\n{\n  \"id\": \"bob\",\n  \"n\": 2\n}\n",
		"answer":              `{"status":"1","message":"OK","result":[{"id":"alice","n":"1"},{"id":"bob","n":"2"}]}`,
		"answer, nested":      `{"jsonrpc":"2.0","id":1,"result":{"pageKey":null,"transfers":[{"id":"alice","n":1},{"id":"bob","n":2}]}}`,
		"answer, rows inside": `{"data":{"items":[{"id":"alice","transfers":[{"n":1}]},{"id":"bob","transfers":[{"n":2}]}]},"error":false}`,
		"pages":               `{"result":[{"id":"alice","n":1}]}` + "\n" + `{"result":[]}` + "\n" + `{"result":[{"id":"bob","n":2}]}`,
		"parquet":             pq.String(),
	} {
		for packing, pack := range map[string]func(*testing.T, []byte) []byte{
			"plain": func(_ *testing.T, b []byte) []byte { return b }, "gzip": packGzip, "zstd": packZstd,
		} {
			t.Run(name+", "+packing, func(t *testing.T) {
				t.Parallel()
				got, err := readAll(write(t, pack(t, []byte(text))))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestNestedJSONIsFlat(t *testing.T) {
	t.Parallel()
	got, err := readAll(write(t, []byte(`{"a":{"b":{"c":"x"}},"ids":[7,"8",null],"many":[{"id":"0x1","v":2},{"id":"0x2","v":3}],"no":null,"yes":true}`+"\n"+`{"late":1e3}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{"a.b.c": "x", "ids": "[7,8,]", "many.id": "[0x1,0x2]", "many.v": "[2,3]", "yes": "true"}, {"late": "1e3"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// CSV with two columns of one name is refused too: one of the values would be lost.
func TestAMemberThatIsGivenTwiceIsNoRow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{\"v\":1,\"w\":2}\n{\"v\":1,\"v\":2}\n",
		"[{\"v\":1,\"w\":2},\n{\"w\":{\"x\":1},\"v\":null,\"v\":2}]",
		"{\"v\":{\"a\":1}}\n{\"v\":{\"a\":1,\"a\":1}}\n",
	} {
		got, err := readAll(write(t, []byte(text)))
		var at *Error
		if !errors.Is(err, ErrRow) || !errors.As(err, &at) || at.Place.Line != 2 || len(got) != 1 {
			t.Errorf("%q: %d rows and %v, want one and the second refused", text, len(got), err)
		}
	}
	// A row takes precedence over what stands around it.
	got, err := readAll(write(t, []byte(`{"items":[{"v":1,"transfers":[{"v":2},{"v":3}]}]}`)))
	if want := []map[string]string{{"v": "2"}, {"v": "3"}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestColumnsOfParquet(t *testing.T) {
	t.Parallel()
	type record struct {
		Hash  []byte    `parquet:"hash"`
		Text  []byte    `parquet:"text"`
		At    time.Time `parquet:"at,timestamp(millisecond)"`
		Big   int64     `parquet:"big,decimal(2:18)"`
		Large uint64    `parquet:"large"`
		Float float64   `parquet:"float"`
		IDs   []int64   `parquet:"ids,list"`
		Maybe *string   `parquet:"maybe,optional"`
		Flag  bool      `parquet:"flag"`
	}
	var pq bytes.Buffer
	if err := parquet.Write(&pq, []record{
		{[]byte{0, 0xa1}, []byte("plain"), time.UnixMilli(1767225600123), -1250, 1<<64 - 1, 1.5, []int64{7, 8}, nil, true},
	}); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(write(t, pq.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{
		"hash": "0x00a1", "text": "plain", "at": "2026-01-01 00:00:00.123Z", "big": "-1250e-2", "large": "18446744073709551615",
		"float": "1.5", "ids": "[7,8]", "flag": "true",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilesOfOtherKindsAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"PK\x03\x04abc":                    "a zip archive or an Excel workbook",
		"\xff\xfei\x00d\x00,\x00":          "text in UTF-16",
		"\xfe\xff\x00i\x00d":               "text in UTF-16",
		"i\x00d\x00,\x00n\x00\n\x00":       "UTF-16 without a byte order mark",
		"\n<!DOCTYPE html>\n<html></html>": "an HTML page",
		"<?xml version=\"1.0\"?><Error/>":  "XML",
		"BZh91AY":                          "bzip2",
		"\xfd7zXZ\x00":                     "xz",
		"SQLite format 3\x00":              "SQLite",
		"id,n\n\x00\x01":                   "binary",
		"%PDF-1.7":                         "PDF",
		"version https://git-lfs.github.com/spec/v1\noid":                    "Git LFS",
		`{"status":"0","message":"NOTOK","result":"Max rate limit reached"}`: "the error of a server: \"NOTOK: Max rate limit reached\"",
		`{"error":{"code":-32000,"message":"limit"}}`:                        "the error of a server",
		strings.Repeat("x", 257) + "ustar\x00":                               "tar archive",
	} {
		f := write(t, []byte(text))
		_, err := readAll(f)
		if !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), f.Name()) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                         "the file is empty",
		"[]":                       "the file has no rows",
		`[{"id":1},`:               "ends within a JSON value",
		"[1,2]":                    "is not an object",
		"id,n,id\n":                "is there twice",
		"PAR1 and nothing more":    "Parquet data is damaged",
		`{"id":"a"}` + "\n{\"id\"": "the row is damaged: malformed JSON",
	} {
		f := write(t, []byte(text))
		if _, err := readAll(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestADamagedLineOfJSONIsPassedOver(t *testing.T) {
	t.Parallel()
	f := write(t, []byte("{\"id\":\"a\"}\n{\"id\":}\n{\"id\":\"b\"}\n"))
	table, err := NewTable(f)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		row, place, err := table.Next()
		if err == io.EOF {
			break
		}
		switch {
		case errors.Is(err, ErrRow):
			got = append(got, "bad")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, row[0])
		}
		if place.Line != len(got) {
			t.Errorf("row %d stands at %s", len(got), place)
		}
	}
	if diff := cmp.Diff([]string{"a", "bad", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestZstdThatWasCut(t *testing.T) {
	t.Parallel()
	packed := packZstd(t, []byte("id,n\n"+strings.Repeat("alice,1\n", 100_000)))
	path := filepath.Join(t.TempDir(), "rows.zst")
	if err := os.WriteFile(path, packed[:len(packed)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, nil)
	if err == nil {
		_, err = readAll(f)
		_ = f.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "ends too early") {
		t.Error(err)
	}
}
