package projection_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/projection"
)

// Snapshots of a bucket that has one owner go under one acknowledgement for many.
// What comes between them, or is missing, is noticed, and nothing is lost.
func TestBursts(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	js := b.connect()
	s := openSnapshots(t, js, true)
	v := watch(t, s)
	position := uint64(0)
	check := func(value string, n int) {
		t.Helper()
		position++
		publish(t, s, 3, entries(n, value), position)
		if err := v.WaitPosition(within(t), 3, position); err != nil {
			t.Fatal(err)
		}
		got := contents(v)
		for _, e := range entries(n, value) {
			if got[e.Key] != string(e.Value) {
				t.Fatalf("%s is %q, want %q", e.Key, got[e.Key], e.Value)
			}
		}
		if at, err := s.Position(within(t), 3); err != nil || at != position {
			t.Fatalf("the bucket is at %d, want %d, %v", at, position, err)
		}
	}
	check("first", 10)
	check("second", 5000) // more than one burst
	if _, err := js.Publish(within(t), "$KV."+projection.BucketName("g1")+".somebody-else", []byte("x")); err != nil {
		t.Fatal(err)
	}
	check("after another writer", 3000)
	check("again", 0)
	check("one", 1)
	connected := js.Conn().StatusChanged(nats.CONNECTED)
	b.stop()
	b.start()
	select { // what is sent before the loss is noticed goes with the connection
	case <-connected:
	case <-within(t).Done():
		t.Fatal("the client does not connect again")
	}
	check("after a restart", 100)
}

// What is owed is counted among the bursts: it comes between two of them, never
// into one, where it could stand for a snapshot that the broker dropped. So the
// next burst is taken at once, and nothing is published twice.
func TestOwedBetweenBursts(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	publish(t, s, 3, entries(10, "first"), 1)
	before := lastOf(t, js)
	if err := s.SetOwed(within(t), 2, true); err != nil {
		t.Fatal(err)
	}
	publish(t, s, 3, entries(10, "second"), 2)
	if got := lastOf(t, js) - before; got != 1+10+1 {
		t.Errorf("%d messages were published, want 12", got)
	}
}

func lastOf(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(within(t), "KV_"+projection.BucketName("g1"))
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}
