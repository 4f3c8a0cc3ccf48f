package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
)

// A log with a flipped message is not backed up. A backup that was made of one is found
// out where it is restored, though all its bytes are as they were written.
func TestDamagedStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(o *server.Options) { o.StoreDir = dir }
	first := natstest.Start(t, in)
	js := natstest.JetStream(t, first)
	openLog(t, js)
	const messages = 30
	for range messages {
		if _, err := js.Publish(t.Context(), ingest.LogSubject(1), bytes.Repeat([]byte("event"), 20)); err != nil {
			t.Fatal(err)
		}
	}
	first.Shutdown()
	first.WaitForShutdown()

	block := filepath.Join(dir, "jetstream", "$G", "streams", ingest.StreamName, "msgs", "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content[len(content)/2:], []byte("event"))+len(content)/2] ^= 1
	if err := os.WriteFile(block, content, 0o600); err != nil {
		t.Fatal(err)
	}
	js = natstest.JetStream(t, natstest.Start(t, in))

	w, err := NewWriter(io.Discard, "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	var gap *ingest.GapError
	if err := w.AddStream(t.Context(), js.Conn(), ingest.StreamName); !errors.As(err, &gap) || gap.First == 0 || gap.First != gap.Last {
		t.Errorf("a damaged log is copied: %v", err)
	}

	var file bytes.Buffer
	if w, err = NewWriter(&file, "test", time.Unix(1, 0), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.copyStream(t.Context(), js.Conn(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := Verify(t.Context(), bytes.NewReader(file.Bytes()), nil)
	if err != nil || m.Streams[0].Messages != messages {
		t.Fatal(m, err)
	}
	there := startServer(t)
	to := &target{taken: taken{files: map[string]string{}}, conn: there.Conn()}
	if err := Restore(t.Context(), bytes.NewReader(file.Bytes()), m, to, nil); err == nil {
		t.Log("the server restores it")
	} else if !errors.Is(err, ErrUnreadable) {
		t.Fatal(err)
	}
	if err := CheckRestored(t.Context(), there.Conn(), m); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a restored log that is damaged: %v", err)
	}
}
