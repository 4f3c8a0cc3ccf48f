package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdmetrics/ingest"
)

// A file server sends every file, whatever its size, and its copy is
// gone afterwards.
func TestFileServer(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	openLog(t, js)
	dir := t.TempDir()
	large := strings.Repeat("0123456789abcdef", 3*readBytes/16) + "!"
	files, err := ServeFiles(js.Conn(), dir, func(_ context.Context, to string) error {
		return errors.Join(
			os.MkdirAll(filepath.Join(to, "store", "deep"), 0o700),
			os.WriteFile(filepath.Join(to, "store", "deep", "large"), []byte(large), 0o600),
			os.WriteFile(filepath.Join(to, "store", "empty"), nil, 0o600),
			os.WriteFile(filepath.Join(to, "POLICY"), []byte("sum\n"), 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close(t.Context())
	var out bytes.Buffer
	w, err := NewWriter(&out, "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := w.AddServer(t.Context(), js.Conn()); !found || err != nil {
		t.Fatal(found, err)
	}
	if err := w.AddStream(t.Context(), js.Conn(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	got := &taken{map[string]string{}, map[string]string{}}
	if err := Restore(t.Context(), &out, m, got, nil); err != nil {
		t.Fatal(err)
	}
	if len(got.files) != 3 || got.files["store/deep/large"] != large || got.files["POLICY"] != "sum\n" {
		t.Errorf("%d files", len(got.files))
	}
	checkNoCopy(t, dir)
}

func checkNoCopy(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// One backup is made at a time; a file server that closes ends it; a copy that fails
// leaves nothing.
func TestFileServerRefuses(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	w, err := NewWriter(new(bytes.Buffer), "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := w.AddServer(t.Context(), js.Conn()); found || err != nil {
		t.Fatalf("without a file server: %v, %v", found, err)
	}
	dir := t.TempDir()
	fail := errors.New("disk full")
	files, err := ServeFiles(js.Conn(), dir, func(_ context.Context, to string) error {
		return errors.Join(fail, os.Mkdir(to, 0o700))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { files.Close(t.Context()) }()
	begin := func() error { return ask(t.Context(), js.Conn(), "begin", nil, time.Minute, nil) }
	if err := begin(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a copy that fails: %v", err)
	}
	checkNoCopy(t, dir)
	fail = nil
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	if err := begin(); err == nil || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("a second one: %v", err)
	}
	for _, q := range []*readQuestion{{Session: "x"}, {Session: files.session, File: 1, Bytes: 1}, {Session: files.session, File: -1, Bytes: 1}, {}} {
		if err := ask(t.Context(), js.Conn(), "read", q, time.Minute, nil); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
	// Who forgets his session lets others in.
	files.mu.Lock()
	files.deadline.Reset(0)
	files.mu.Unlock()
	for over := time.Now().Add(time.Minute); begin() != nil; {
		if time.Now().After(over) {
			t.Fatal("the forgotten session stays")
		}
		time.Sleep(time.Millisecond) // a timer sends no event
	}
	if err := files.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkNoCopy(t, dir)
}
