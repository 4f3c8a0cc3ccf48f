package ingest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/natstest"
)

// restarted is a server that is stopped, has its files changed, and is started again.
type restarted struct {
	t   *testing.T
	dir string
	now *server.Server
}

func startOn(t *testing.T) (*restarted, jetstream.JetStream) {
	r := &restarted{t: t, dir: t.TempDir()}
	return r, r.start()
}

func (r *restarted) start() jetstream.JetStream {
	r.now = natstest.Start(r.t, func(o *server.Options) { o.StoreDir = r.dir })
	return natstest.JetStream(r.t, r.now)
}

func (r *restarted) stop() {
	r.now.Shutdown()
	r.now.WaitForShutdown()
}

func (r *restarted) file(name string) string {
	return filepath.Join(r.dir, "jetstream", "$G", "streams", StreamName, "msgs", name)
}

// change changes the bytes of a file.
func (r *restarted) change(name string, f func([]byte) []byte) {
	r.t.Helper()
	content, err := os.ReadFile(r.file(name))
	if err == nil {
		err = os.WriteFile(r.file(name), f(content), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A block of the middle of the log cannot be read at all, or is cut off, or gone: with
// and without the index that a clean stop leaves. What lies behind it is found, and so
// is what it had.
func TestDamagedBlocks(t *testing.T) {
	t.Parallel()
	const messages, bytesEach = 20, 1000 << 10 // eight in a block
	flip := func(b []byte) []byte { b[len(b)/2] ^= 0x5a; return b }
	for name, c := range map[string]struct {
		damage  func(r *restarted)
		least   uint64 // messages that are lost
		missing bool   // the server does not open the log at all
	}{
		"nothing":           {func(*restarted) {}, 0, false},
		"flipped":           {func(r *restarted) { r.change("2.blk", flip) }, 1, false},
		"flipped, no index": {func(r *restarted) { r.change("2.blk", flip); _ = os.Remove(r.file("index.db")) }, 1, true},
		"cut":               {func(r *restarted) { r.change("2.blk", func(b []byte) []byte { return b[:len(b)/2] }) }, 1, false},
		"cut, no index": {func(r *restarted) {
			r.change("2.blk", func(b []byte) []byte { return b[:len(b)/2] })
			_ = os.Remove(r.file("index.db"))
		}, 1, true},
		"gone":                  {func(r *restarted) { _ = os.Remove(r.file("2.blk")) }, 1, false},
		"gone, no index":        {func(r *restarted) { _ = os.Remove(r.file("2.blk")); _ = os.Remove(r.file("index.db")) }, 1, false},
		"the first one is gone": {func(r *restarted) { _ = os.Remove(r.file("1.blk")) }, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, js := startOn(t)
			log, err := OpenLog(t.Context(), js, LogConfig{Partitions: 2})
			if err != nil {
				t.Fatal(err)
			}
			data := make([]byte, bytesEach)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
			id := log.ID()
			for i := range messages {
				data[0] = byte(i)
				if _, err := js.Publish(t.Context(), LogSubject(i%2), data); err != nil {
					t.Fatal(err)
				}
			}
			if blocks, _ := filepath.Glob(r.file("*.blk")); len(blocks) < 3 {
				t.Fatal("too few blocks: ", blocks)
			}
			r.stop()
			c.damage(r)
			js = r.start()
			existed := func(context.Context) (bool, error) { return true, nil }
			log, err = OpenLog(t.Context(), js, LogConfig{Partitions: 2, Exists: existed})
			if c.missing {
				if !errors.Is(err, ErrLogMissing) {
					t.Fatal("a log that the server cannot open: ", err)
				}
				if _, err := js.Stream(t.Context(), StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
					t.Fatal("another log was made over this one")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if log.ID() != id {
				t.Fatal("another log was made over this one")
			}
			log.patience = 500 * time.Millisecond
			last, err := log.LastPosition(t.Context())
			if err != nil || last != messages {
				t.Fatal("last position", last, err)
			}
			gaps, err := log.Unreadable(t.Context(), Span{1, last})
			if err != nil {
				t.Fatal(err)
			}
			lost := uint64(0)
			for _, g := range gaps {
				lost += g.Last - g.First + 1
			}
			t.Log(gaps, log.Whole(t.Context(), 1))
			if lost < c.least || lost > messages/2 || c.least == 0 && lost != 0 {
				t.Fatalf("%d messages are lost: %v", lost, gaps)
			}
			var read []uint64
			var gap *GapError
			for m, err := range log.Read(t.Context(), Range{}) {
				if err != nil {
					if !errors.As(err, &gap) {
						t.Fatal(err)
					}
					break
				}
				if m.Data[0] != byte(m.Position-1) || !bytes.Equal(m.Data[1:], data[1:]) {
					t.Fatal("another message at position ", m.Position)
				}
				read = append(read, m.Position)
			}
			if c.least == 0 {
				if gap != nil || len(read) != messages {
					t.Fatal(gap, read)
				}
				return
			}
			if gap == nil || gap.First != gaps[0].First || len(read) != int(gaps[0].First-1) {
				t.Fatalf("read %v, then %v", read, gap)
			}
			// By an operator's decision they are passed over.
			var accepted []Lost
			for _, g := range gaps {
				accepted = append(accepted, Lost{Span: g, At: time.Unix(1, 0)})
			}
			if err := log.AcceptLoss(t.Context(), accepted); err != nil {
				t.Fatal(err)
			}
			read = read[:0]
			for m, err := range log.Read(t.Context(), Range{}) {
				if err != nil {
					t.Fatal(err)
				}
				read = append(read, m.Position)
			}
			if uint64(len(read)) != messages-lost || !slices.IsSorted(read) {
				t.Errorf("read %v, without %v", read, gaps)
			}
			if err := errors.Join(log.Whole(t.Context(), 1), log.Check(t.Context(), Span{1, last}), log.Damage()); err != nil {
				t.Error(err)
			}
		})
	}
}
