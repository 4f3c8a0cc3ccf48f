package backup

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
)

// A bucket whose keys are written over while it is copied, as those of checkpoints and of
// generations are, can be restored from every copy, and has every key then, not older than
// when the copy began.
func TestABucketThatIsWrittenOverWhileItIsCopied(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"plain":   {Bucket: "CHANGING"},
		"expires": {Bucket: "CHANGING", LimitMarkerTTL: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writtenOver(t, cfg)
		})
	}
}

func writtenOver(t *testing.T, cfg jetstream.KeyValueConfig) {
	js, there := startServer(t), startServer(t)
	openLog(t, js)
	kv, err := js.CreateKeyValue(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("x"), 4<<10)
	const keys = 100
	put := func(i int) (err error) {
		_, err = kv.Put(t.Context(), fmt.Sprintf("tile.%d", i%keys), value)
		return err
	}
	for i := range keys {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	head, err := kv.Create(t.Context(), "head", []byte("0"))
	if err != nil {
		t.Fatal(err)
	}
	var heads atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer func() { cancel(); writing.Wait() }()
	writing.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			var err error
			if head, err = kv.Update(t.Context(), "head", fmt.Append(nil, i), head); err == nil {
				heads.Store(int64(i))
				err = put(i)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	changed := 0
	for i := range 10 {
		before := heads.Load()
		file, m := write(t, js.Conn(), nil, "KV_CHANGING", ingest.StreamName)
		changed += len(m.Streams[0].Changes)
		to := &target{taken: taken{files: map[string]string{}}, conn: there.Conn()}
		if err := Restore(t.Context(), bytes.NewReader(file), m, to, nil); err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		if err := CheckRestored(t.Context(), there.Conn(), m); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
		again, err := there.KeyValue(t.Context(), "CHANGING")
		if err != nil {
			t.Fatal(err)
		}
		for j := range keys {
			if _, err := again.Get(t.Context(), fmt.Sprintf("tile.%d", j)); err != nil {
				t.Errorf("copy %d, key %d: %v", i, j, err)
			}
		}
		var is int64
		if e, err := again.Get(t.Context(), "head"); err != nil {
			t.Errorf("copy %d: the head: %v", i, err)
		} else if _, err := fmt.Sscan(string(e.Value()), &is); err != nil || is < before {
			t.Errorf("copy %d: the head is %q, and was %d when it began", i, e.Value(), before)
		}
		for _, s := range []string{"KV_CHANGING", ingest.StreamName} {
			if err := there.DeleteStream(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if changed == 0 {
		t.Error("nothing changed while it was copied: the test shows nothing")
	}
}

// What lives for a time is not made alive again, and a deletion stays one.
func TestChangesThatLiveForATime(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CHANGING", LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "gone", []byte("x")); err != nil {
		t.Fatal(err)
	}
	all := Stream{Name: "KV_CHANGING"}
	if _, err := kv.Create(t.Context(), "alive", []byte("x"), jetstream.KeyTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "gone", jetstream.PurgeTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all.Changes, err = changes(t.Context(), js.Conn(), &all); err != nil || len(all.Changes) != 2 {
		t.Fatalf("%+v, %v", all.Changes, err)
	}
	there := startServer(t)
	again, err := there.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CHANGING", LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Create(t.Context(), "gone", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := apply(t.Context(), there.Conn(), &all); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"gone", "alive"} {
		if e, err := again.Get(t.Context(), key); err == nil {
			t.Errorf("key %s is there: %q", key, e.Value())
		}
	}
}
