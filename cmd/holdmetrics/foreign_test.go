package main

import (
	"fmt"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// What is no snapshot, and the snapshot of another holder, is replaced in the bucket of a
// server that runs. Its own connections alone can write there.
func TestForeignSnapshotsAreReplaced(t *testing.T) {
	t.Parallel()
	p, _ := started(t, t.TempDir())
	for i := range 20 {
		if _, err := p.Producer.Record(t.Context(), &hold.Draft{Token: "T", Holder: fmt.Sprint("h", i), Start: hold.StampOf(100e9), End: hold.StampOf(200e9)}); err != nil {
			t.Fatal(err)
		}
	}
	bucket, err := p.Events.JetStream().KeyValue(t.Context(), projection.BucketName("1"))
	if err != nil {
		t.Fatal(err)
	}
	is := func(holder string) error {
		entry, err := bucket.Get(t.Context(), ingest.SubjectToken(holder))
		if err != nil {
			return err
		}
		s, err := projection.ReadSnapshot(entry.Value())
		if err == nil && string(s.Holder) != holder {
			err = fmt.Errorf("%s has the snapshot of %s", holder, s.Holder)
		}
		return err
	}
	for i := range 20 {
		eventually(t, "the snapshots are there", func() error { return is(fmt.Sprint("h", i)) })
	}
	entry, err := bucket.Get(t.Context(), "h7")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string][]byte{"h5": []byte("\x0a\xff no snapshot"), "h6": entry.Value()} {
		if _, err := bucket.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, holder := range []string{"h5", "h6"} {
		eventually(t, "the snapshots are replaced", func() error { return is(holder) })
	}
}
