package projection_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
)

// A client of the broker writes to a bucket with one owner, between bursts and within
// them. A view never shows what it wrote, and the owner hears of each key. What the owner
// writes is shown, and its own marks and bursts are not taken for somebody else's.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	ctx := t.Context()
	bucket, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1", Async: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	var mu sync.Mutex
	heard := map[string]int{}
	bucket.OnForeign(func(key string) {
		mu.Lock()
		defer mu.Unlock()
		heard[key]++
	})
	view, err := bucket.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	publish := func(value string, position uint64) {
		t.Helper()
		var all []projection.Entry
		for i := range 20 {
			all = append(all, projection.Entry{Key: fmt.Sprint("h", i), Value: fmt.Appendf(nil, "%s %d", value, i)})
		}
		if err := bucket.Publish(ctx, 3, all, projection.Reached{Position: position}); err != nil {
			t.Fatal(err)
		}
		if err := view.WaitPosition(ctx, 3, position); err != nil {
			t.Fatal(err)
		}
	}
	if err := view.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	// From the second on, all is counted.
	publish("a", 1)
	publish("b", 2)
	publish("c", 3)
	mu.Lock()
	clear(heard)
	mu.Unlock()
	publish("d", 4)
	mu.Lock()
	if len(heard) > 0 {
		t.Errorf("the owner's own messages are taken for somebody else's: %v", heard)
	}
	mu.Unlock()

	for _, key := range []string{"h7", "nobody", "_pos.3"} {
		if _, err := js.Publish(ctx, "$KV.HOLD_STATS_1."+key, []byte("9999")); err != nil {
			t.Fatal(err)
		}
	}
	gone := nats.NewMsg("$KV.HOLD_STATS_1.h8")
	gone.Header.Set("KV-Operation", "DEL")
	if _, err := js.PublishMsg(ctx, gone); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the owner hears of all", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, key := range []string{"h7", "h8", "nobody", "_pos.3"} {
			if heard[key] == 0 {
				return fmt.Errorf("%s is missing: %v", key, heard)
			}
		}
		return nil
	})
	for key, want := range map[string]string{"h7": "d 7", "h8": "d 8", "nobody": ""} {
		if value, _ := view.Get(key); string(value) != want {
			t.Errorf("the view has %q at %s, want %q", value, key, want)
		}
	}
	if got := view.Position(3); got != 4 {
		t.Errorf("the view is at position %d, want 4", got)
	}

	// The owner goes on, and may remove what is nobody's.
	publish("e", 5)
	if err := bucket.Publish(context.WithoutCancel(ctx), 3, []projection.Entry{{Key: "nobody", Gone: true}}, projection.Reached{Position: 6}); err != nil {
		t.Fatal(err)
	}
	if err := view.WaitPosition(ctx, 3, 6); err != nil {
		t.Fatal(err)
	}
	if value, _ := view.Get("h7"); string(value) != "e 7" {
		t.Errorf("the view has %q", value)
	}
	if value, ok := view.Get("nobody"); ok {
		t.Errorf("the view has %q of nobody", value)
	}
}
