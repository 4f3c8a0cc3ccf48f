package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
)

// taken is what a target was given.
type taken struct {
	files   map[string]string
	streams map[string]string
}

func (t *taken) File(f File, from io.Reader) error {
	data, err := io.ReadAll(from)
	t.files[f.Name] = string(data)
	return err
}

func (t *taken) Stream(s Stream, from io.Reader) error {
	data, err := io.ReadAll(from)
	t.streams[s.Name] = string(data)
	return err
}

// target restores streams to a server.
type target struct {
	taken
	conn *nats.Conn
}

func (t *target) Stream(s Stream, from io.Reader) error {
	return RestoreStream(context.Background(), t.conn, s, 0, from)
}

// write makes a backup of streams, and of files.
func write(t *testing.T, conn *nats.Conn, files map[string]string, streams ...string) ([]byte, *Manifest) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := w.AddFile(name, int64(len(data)), strings.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range streams {
		if err := w.AddStream(t.Context(), conn, name); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), m
}

func openLog(t *testing.T, js jetstream.JetStream) *ingest.Log {
	t.Helper()
	l, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A log that is copied while it is written to is whole up to some position, which
// is not before what was acknowledged when the copy began; and it becomes the same
// log elsewhere: id, settings, positions, bytes and times.
func TestStreamsWhileTheyAreWritten(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	l := openLog(t, js)
	random := make([]byte, 32<<10) // more than one part in all, and no compressing it
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	put := func(i int) error {
		_, err := js.Publish(t.Context(), ingest.LogSubject(i%4), append(fmt.Appendf(nil, "%d ", i), random[:i%len(random)]...))
		return err
	}
	const before = 500
	for i := range before {
		if err := put(i * 64); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var producing sync.WaitGroup
	began := make(chan struct{})
	producing.Go(func() {
		start := sync.OnceFunc(func() { close(began) })
		defer start()
		for i := 0; ctx.Err() == nil; i++ {
			if err := put(i); err != nil {
				t.Error(err)
				return
			}
			if i == 10 {
				start()
			}
		}
	})
	<-began
	file, m := write(t, js.Conn(), map[string]string{"POLICY": "merge\n", "store/a/b": ""}, ingest.DeadLetterStream, ingest.StreamName)
	cancel()
	producing.Wait()
	if m.LogID != l.ID() || len(m.Streams) != 2 || m.Streams[1].Last < before+10 || m.Streams[1].Messages != m.Streams[1].Last {
		t.Fatalf("%+v", m)
	}

	verified, err := Verify(t.Context(), bytes.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	there := startServer(t)
	to := &target{taken: taken{files: map[string]string{}}, conn: there.Conn()}
	if err := Restore(t.Context(), bytes.NewReader(file), verified, to, nil); err != nil {
		t.Fatal(err)
	}
	if len(to.files) != 2 || to.files["POLICY"] != "merge\n" {
		t.Errorf("files %q", to.files)
	}
	again := openLog(t, there)
	if again.ID() != l.ID() || again.Partitions() != 4 {
		t.Errorf("log %s of %d partitions", again.ID(), again.Partitions())
	}
	was, err := js.Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	is, err := there.Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if n := is.CachedInfo().State.LastSeq; n != m.Streams[1].Last {
		t.Fatalf("restored up to %d of %d", n, m.Streams[1].Last)
	}
	for seq := uint64(1); seq <= m.Streams[1].Last; seq++ {
		a, err := was.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		b, err := is.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if a.Subject != b.Subject || !bytes.Equal(a.Data, b.Data) || !a.Time.Equal(b.Time) {
			t.Fatalf("message %d is another one", seq)
		}
	}

	// It replaces nothing.
	if err := Restore(t.Context(), bytes.NewReader(file), verified, to, nil); !errors.Is(err, ErrExists) {
		t.Errorf("restored twice: %v", err)
	}
}

func TestNoLog(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	w, err := NewWriter(io.Discard, "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddStream(t.Context(), js.Conn(), ingest.StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
	if _, err := w.Close(); !errors.Is(err, ErrNoLog) {
		t.Errorf("a backup without a log: %v", err)
	}
	for _, name := range []string{"", "/etc/passwd", "../x", "a/../../x", "a//b", `a\b`} {
		if err := w.AddFile(name, 0, strings.NewReader("")); err == nil {
			t.Errorf("file %q", name)
		}
	}
}

// Any bit that is changed, any end that comes early, and anything behind the end is found.
func TestDamage(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	openLog(t, js)
	file, _ := write(t, js.Conn(), map[string]string{"store/a": strings.Repeat("x", 3000)}, ingest.StreamName)
	if _, err := Verify(t.Context(), bytes.NewReader(file), nil); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, bad []byte) {
		t.Helper()
		m, err := Verify(t.Context(), bytes.NewReader(bad), nil)
		if m != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotABackup) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for n := 0; n < len(file); n += 17 {
		refused(fmt.Sprint("cut at ", n), file[:n])
	}
	for _, n := range []int{1, 512, 1024, sealBytes, sealBytes + 512} {
		refused(fmt.Sprint("without the last ", n), file[:len(file)-n])
	}
	for _, more := range []string{"junk", "\x00", strings.Repeat("\x00", 512), string(file[len(file)-sealBytes:])} {
		refused(fmt.Sprintf("%d bytes more", len(more)), append(bytes.Clone(file), more...))
	}
	// Every byte of what is not a part of a stream or file is a setting, a sum or a
	// name; all of the manifest, and the rest at random.
	manifest := bytes.LastIndex(file, []byte(manifestName))
	random := mathrand.New(mathrand.NewPCG(1, 1))
	for n := 0; n < len(file); n++ {
		if n < manifest && n > 1024 && random.IntN(16) != 0 {
			continue
		}
		bad := bytes.Clone(file)
		bad[n] ^= 1 << random.IntN(8)
		refused(fmt.Sprint("byte ", n), bad)
	}
}

// A backup of version 1 has no seal, and is read; what stands behind its end is found.
func TestVersion1(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	openLog(t, js)
	file, m := write(t, js.Conn(), map[string]string{"store/a": "x"}, ingest.StreamName)
	var out bytes.Buffer
	from, to := tar.NewReader(bytes.NewReader(file)), tar.NewWriter(&out)
	for {
		h, err := from.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == sealName {
			break
		}
		text, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == headName || h.Name == manifestName {
			text = bytes.Replace(text, []byte(`"version": 3`), []byte(`"version": 1`), 1)
		}
		if err := to.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := Verify(t.Context(), bytes.NewReader(out.Bytes()), nil)
	if err != nil || old.Version != 1 || old.LogID != m.LogID {
		t.Fatal(old, err)
	}
	given := &taken{map[string]string{}, map[string]string{}}
	if err := Restore(t.Context(), bytes.NewReader(out.Bytes()), old, given, nil); err != nil || given.files["store/a"] != "x" || len(given.streams) != 1 {
		t.Fatal(given.files, err)
	}
	if _, err := Verify(t.Context(), strings.NewReader(out.String()+"junk"), nil); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func TestOtherFiles(t *testing.T) {
	t.Parallel()
	made := func(name, text string) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		_ = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600})
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return out.Bytes()
	}
	newer, _ := json.Marshal(head{formatName, Version + 1})
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"empty":   {nil, ErrNotABackup},
		"text":    {[]byte("hello"), ErrNotABackup},
		"tar":     {made("x", "y"), ErrNotABackup},
		"another": {made(headName, `{"format":"z"}`), ErrNotABackup},
		"older":   {made(headName, `{"format":"holdmetrics backup"}`), ErrDamaged},
		"newer":   {made(headName, string(newer)), ErrVersion},
	} {
		if _, err := Verify(t.Context(), bytes.NewReader(c.file), nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
