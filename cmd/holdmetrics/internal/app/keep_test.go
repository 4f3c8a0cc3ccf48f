package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/projection"
)

// A message of a snapshot bucket that is damaged in its block does not silence the broker
// at the next snapshot of the same holder, whatever the index of the bucket says.
func TestDamagedSnapshotSilencesNobody(t *testing.T) {
	t.Parallel()
	const keys = 50
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	subject := func(i int) string { return fmt.Sprintf("$KV.%s.k%d", projection.BucketName("1"), i) }
	open := func() (*Broker, jetstream.JetStream) {
		t.Helper()
		b, err := StartPrivateBroker(dir, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(b.Conn)
		if err != nil {
			t.Fatal(err)
		}
		return b, js
	}

	b, js := open()
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: projection.BucketName("1")}); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if _, err := js.Publish(ctx, subject(i), fmt.Appendf(nil, "value-of-%d.", i)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	block := filepath.Join(streamDirectory(dir, "KV_"+projection.BucketName("1")), "msgs", "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte("value-of-20."))
	if at < 0 {
		t.Fatal("the block lacks a message")
	}
	content[at] ^= 0xff
	if err := os.WriteFile(block, content, 0o600); err != nil {
		t.Fatal(err)
	}

	b, js = open()
	for i := range keys {
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := js.Publish(within, subject(i), []byte("next"))
		cancel()
		if err != nil {
			t.Fatalf("the next snapshot of key %d: %v", i, err) // such a server does not stop either
		}
	}
	s, err := js.Stream(ctx, "KV_"+projection.BucketName("1"))
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if n := s.CachedInfo().State.Msgs; n != keys {
		t.Errorf("the bucket has %d messages, want %d", n, keys)
	}
}

// A bucket whose files are whole keeps its index, and what the index alone knows: messages
// that were deleted.
func TestWholeBucketKeepsItsIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var before jetstream.StreamState
	index := filepath.Join(streamDirectory(dir, "KV_"+projection.BucketName("1")), "msgs", "index.db")
	for round := range 6 {
		if damaged, err := dropIndexes(dir); err != nil || len(damaged) > 0 {
			t.Fatalf("round %d: damaged are %q, %v", round, damaged, err)
		}
		if _, err := os.Stat(index); round > 0 && err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		b, err := StartPrivateBroker(dir, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(b.Conn)
		if err != nil {
			t.Fatal(err)
		}
		bucket := projection.BucketName("1")
		s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxMsgsPerSubject: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State; round > 0 && (got.Msgs != before.Msgs || got.FirstSeq != before.FirstSeq || got.LastSeq != before.LastSeq || got.NumSubjects != before.NumSubjects) {
			t.Errorf("round %d: started with %d messages, %d to %d, stopped with %d, %d to %d", round, got.Msgs, got.FirstSeq, got.LastSeq, before.Msgs, before.FirstSeq, before.LastSeq)
		}
		for i := range 2000 {
			if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: fmt.Sprintf("$KV.%s.k%d", bucket, i*(round+1)%700), Header: []nats.Header{nil, {"Of": {"a test"}}}[i%2], Data: bytes.Repeat([]byte("value"), i%9)}); err != nil {
				t.Fatal(err)
			}
		}
		switch round {
		case 1:
			err = s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucket+".k14"))
		case 2:
			err = s.Purge(ctx)
		case 3:
			var last *jetstream.StreamInfo
			if last, err = s.Info(ctx); err == nil {
				err = s.DeleteMsg(ctx, last.State.LastSeq)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		before = info.State
		b.Close()
	}
}

// Whatever a block has, it is judged without a panic.
func FuzzWholeRecords(f *testing.F) {
	f.Add([]byte{}, "KV_A-1")
	f.Add(binary.LittleEndian.AppendUint32(nil, recordHeader|30), "KV_A-1")
	f.Add(append(binary.LittleEndian.AppendUint32(nil, 30), make([]byte, 26)...), "KV_A-1")
	f.Fuzz(func(t *testing.T, block []byte, name string) {
		hasWholeRecords(block, name)
	})
}
