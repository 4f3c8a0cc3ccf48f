package transparency_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/note"

	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
	"holdmetrics/ingest/transparency"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

type world struct {
	t        *testing.T
	js       jetstream.JetStream
	log      *ingest.Log
	key      *proof.Key
	verifier note.Verifier
	sent     int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	secret, public, err := proof.GenerateKey(rand.Reader, "test")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, js: natstest.JetStream(t, natstest.Start(t))}
	if w.key, err = proof.ParseKey(secret); err != nil {
		t.Fatal(err)
	}
	if w.verifier, err = proof.ParseVerifier(public); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.log, err = ingest.OpenLog(w.t.Context(), w.js, ingest.LogConfig{Partitions: 4}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) keeper() *transparency.Keeper {
	w.t.Helper()
	k, err := transparency.Open(w.t.Context(), transparency.Config{Log: w.log, Key: w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) send(n int) {
	w.t.Helper()
	var last jetstream.PubAckFuture
	for range n {
		w.sent++
		m := nats.NewMsg(ingest.LogSubject(w.sent % 4))
		m.Data = fmt.Appendf(nil, "message %d", w.sent)
		if w.sent%5 == 0 {
			m.Header.Set("Content-Type", "application/json")
		}
		var err error
		if last, err = w.js.PublishMsgAsync(m); err != nil {
			w.t.Fatal(err)
		}
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		w.t.Fatal(err)
	}
}

// prove checks proofs of the first, the last and some other positions as anybody would.
func (w *world) prove(k *transparency.Keeper) proof.Checkpoint {
	w.t.Helper()
	_, signed, err := k.Checkpoint()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := proof.OpenCheckpoint(signed, w.verifier)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, position := range []uint64{1, min(2, c.Size), (c.Size + 1) / 2, c.Size} {
		p, err := k.Prove(w.t.Context(), position, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		m, err := w.log.Message(w.t.Context(), position)
		if err != nil {
			w.t.Fatal(err)
		}
		l := proof.LeafOf(m)
		if err := proof.CheckInclusion(l.Hash(), position, c.Size, c.Root, p.Path); err != nil || p.Leaf != l || p.Note != signed {
			w.t.Errorf("position %d: %v, %+v", position, err, p)
		}
	}
	return c
}

func TestEveryPositionIsProvedAcrossRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.keeper()
	if _, _, err := k.Checkpoint(); !errors.Is(err, transparency.ErrNone) {
		t.Errorf("checkpoint of an empty log: %v", err)
	}
	if _, err := k.Prove(t.Context(), 1, 0); !errors.Is(err, transparency.ErrNone) {
		t.Errorf("proof of an empty log: %v", err)
	}
	var seen []proof.Checkpoint
	for _, n := range []int{1, 2, 253, 1, 700} {
		w.send(n)
		if err := k.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, w.prove(k))
		k = w.keeper() // a restart
		if again := w.prove(k); again != seen[len(seen)-1] {
			t.Errorf("after a restart: %v, want %v", again, seen[len(seen)-1])
		}
	}
	last := seen[len(seen)-1]
	if last.Size != 957 {
		t.Errorf("%d positions", last.Size)
	}
	for i, from := range seen {
		for _, to := range seen[i:] {
			c, err := k.Compare(t.Context(), from.Size, to.Size)
			if err != nil {
				t.Fatal(err)
			}
			if c.From != from || c.To != to {
				t.Errorf("%v and %v, want %v and %v", c.From, c.To, from, to)
			}
			if err := proof.CheckConsistency(from.Size, from.Root, to.Size, to.Root, c.Path); err != nil {
				t.Error(err)
			}
		}
		p, err := k.Prove(t.Context(), from.Size, from.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.CheckInclusion(p.Leaf.Hash(), from.Size, from.Size, from.Root, p.Path); err != nil {
			t.Error(err)
		}
	}
	var not *transparency.NotCoveredError
	for _, position := range []uint64{0, 958} {
		if _, err := k.Prove(t.Context(), position, 0); !errors.As(err, &not) || not.Size != 957 {
			t.Errorf("position %d: %v", position, err)
		}
	}
	if _, err := k.Prove(t.Context(), 1, 958); !errors.Is(err, transparency.ErrNotCovered) {
		t.Errorf("size 958: %v", err)
	}
	if _, err := k.Compare(t.Context(), 0, 0); !errors.Is(err, transparency.ErrNotCovered) {
		t.Errorf("from 0: %v", err)
	}
}

func TestSeveralKeepersOfOneLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.keeper(), w.keeper()
	for range 5 {
		w.send(130)
		done := make(chan error, 2)
		for _, k := range []*transparency.Keeper{a, b} {
			go func() { done <- k.Update(t.Context()) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if w.prove(a) != w.prove(b) {
			t.Error("the keepers disagree")
		}
	}
}

func TestRunMakesCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, err := transparency.Open(t.Context(), transparency.Config{Log: w.log, Key: w.key, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := testContext(t)
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	w.send(300)
	testwait.Poll(t, "a checkpoint of all messages", func() error {
		c, _, err := k.Checkpoint()
		if err == nil && c.Size < 300 {
			err = fmt.Errorf("%d positions", c.Size)
		}
		return err
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestALogThatWasRewrittenIsNotSigned makes the log again under the same id, as an
// operator could who has its files.
func TestALogThatWasRewrittenIsNotSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.keeper()
	w.send(300)
	if err := k.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.prove(k)
	stream, err := w.js.Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := w.js.DeleteStream(t.Context(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	if err := k.Update(t.Context()); !errors.Is(err, transparency.ErrRewritten) {
		t.Errorf("no log: %v", err)
	}
	if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w.sent = 0
	w.open()
	k = w.keeper()
	for _, n := range []int{150, 150, 10} {
		w.send(n) // the same messages; but they come at another time
		var wrong *transparency.RewrittenError
		if err := k.Update(t.Context()); !errors.As(err, &wrong) || wrong.Position != 300 {
			t.Errorf("%d messages: %v", w.sent, err)
		}
	}
	var wrong *transparency.RewrittenError
	if _, err := k.Prove(t.Context(), 7, 0); !errors.As(err, &wrong) || wrong.Position != 7 {
		t.Errorf("position 7: %v", err)
	}
	if after, _, err := k.Checkpoint(); err != nil || after != before {
		t.Errorf("the checkpoint was changed: %v, %v", after, err)
	}
}

// TestABucketThatIsLostIsMadeAgain deletes it under a keeper, which signs nothing any
// more, and opens another one, which comes to the same hashes from the log.
func TestABucketThatIsLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.keeper()
	w.send(700)
	if err := k.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.prove(k)
	if err := w.js.DeleteKeyValue(t.Context(), transparency.Bucket); err != nil {
		t.Fatal(err)
	}
	w.send(100)
	if err := k.Update(t.Context()); err == nil {
		t.Error("a keeper went on without its bucket")
	}
	k = w.keeper()
	if _, _, err := k.Checkpoint(); !errors.Is(err, transparency.ErrNone) {
		t.Errorf("a new bucket: %v", err)
	}
	if err := k.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := w.prove(k)
	c, err := k.Compare(t.Context(), before.Size, after.Size)
	if err != nil {
		t.Fatal(err)
	}
	if c.From != before || after.Size != 800 {
		t.Errorf("%v and %v, want %v", c.From, after, before)
	}
}

func TestADamagedBucketIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.keeper()
	w.send(600)
	if err := k.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	kv, err := w.js.KeyValue(t.Context(), transparency.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	change := func(key string, how func([]byte) []byte) (restore func()) {
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), key, how(append([]byte(nil), e.Value()...))); err != nil {
			t.Fatal(err)
		}
		return func() {
			if _, err := kv.Put(t.Context(), key, e.Value()); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore := change("tile."+w.log.ID()+".0.0", func(b []byte) []byte { b[40] ^= 1; return b })
	if _, err := k.Prove(t.Context(), 1, 0); !errors.Is(err, transparency.ErrDamaged) {
		t.Errorf("a changed hash: %v", err)
	}
	restore()
	restore = change("tile."+w.log.ID()+".0.1", func(b []byte) []byte { return b[:100] })
	if _, err := k.Prove(t.Context(), 300, 0); !errors.Is(err, transparency.ErrDamaged) {
		t.Errorf("a short tile: %v", err)
	}
	restore()
	w.prove(k)
	head := "head." + w.log.ID()
	for name, how := range map[string]func([]byte) []byte{
		"no head":   func([]byte) []byte { return []byte("{") },
		"no tree":   func([]byte) []byte { return []byte("{}") },
		"otherwise": func(b []byte) []byte { return []byte(strings.Replace(string(b), `\n600\n`, `\n599\n`, 1)) },
	} {
		restore := change(head, how)
		if _, err := transparency.Open(t.Context(), transparency.Config{Log: w.log, Key: w.key}); !errors.Is(err, transparency.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		restore()
	}
	w.prove(w.keeper())
}

func testContext(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
