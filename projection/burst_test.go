package projection_test

import (
	"testing"

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
	b.stop()
	b.start()
	check("after a restart", 100)
}
