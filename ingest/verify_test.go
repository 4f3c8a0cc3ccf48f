package ingest

import (
	"reflect"
	"strings"
	"testing"

	"holdmetrics/internal/natstest"

	"github.com/google/uuid"
)

func faults(t *testing.T, l *Log, partition int) ([]PartitionCount, []string) {
	t.Helper()
	var all []string
	counts, err := l.Verify(t.Context(), partition, func(tr Fault) { all = append(all, tr.Reason) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return counts, all
}

func TestVerify(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if _, all := faults(t, l, -1); all != nil {
		t.Errorf("an empty log has %v", all)
	}
	alice, bob := open("gold", "alice", 1), open("gold", "bob", 1)
	home := Partition("alice", l.Partitions())
	var w FrameWriter
	w.AppendDraft(&alice)
	w.AppendDraft(&bob) // who is at home elsewhere
	for _, data := range [][]byte{w.Bytes(), []byte("garbage")} {
		if _, err := l.js.Publish(t.Context(), LogSubject(home), data); err != nil {
			t.Fatal(err)
		}
	}
	counts, all := faults(t, l, -1)
	if len(all) != 2 || !strings.Contains(all[0], "holder belongs to another partition") || !strings.Contains(all[1], "malformed") ||
		!strings.HasSuffix(all[1], "; no dead letter says so: it is not applied yet, or the dead letters were deleted") {
		t.Errorf("faults %q", all)
	}
	want := PartitionCount{Partition: home, Messages: 2, Events: 3, Refused: 2, Bytes: uint64(w.Len() + len("garbage")), First: 1, Last: 2}
	if counts[home] != want || len(counts) != l.Partitions() {
		t.Errorf("counts %+v, want %+v", counts[home], want)
	}
	// What has its dead letter, resolved or not, is no fault.
	first, second := DeadLetter{Partition: home, Sequence: 1, Index: 1}, DeadLetter{Partition: home, Sequence: 2}
	for _, d := range []DeadLetter{first, second} {
		if err := l.DeadLetters().Publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeadLetters().Resolve(t.Context(), second, DeadLetterDropped); err != nil {
		t.Fatal(err)
	}
	counts, all = faults(t, l, home)
	if all != nil || !reflect.DeepEqual(counts, []PartitionCount{want}) {
		t.Errorf("%+v, %q", counts, all)
	}
	counts, all = faults(t, l, (home+1)%16)
	if all != nil || counts[0].Messages != 0 {
		t.Errorf("%+v, %q", counts, all)
	}
}

// A stream from which messages were deleted, by somebody who changed its settings
// and changed them back.
func TestVerifyFindsGaps(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	cfg := eventsConfig(LogConfig{Partitions: 4, Replicas: 1}, uuid.NewString())
	cfg.DenyDelete, cfg.DenyPurge = false, false
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	alice := open("gold", "alice", 1)
	for range 6 {
		if _, err := js.Publish(t.Context(), RawSubject("alice"), AppendEvent(nil, &alice)); err != nil {
			t.Fatal(err)
		}
	}
	for _, position := range []uint64{1, 3, 4} {
		if err := s.DeleteMsg(t.Context(), position); err != nil {
			t.Fatal(err)
		}
	}
	cfg.DenyDelete, cfg.DenyPurge = true, true
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l, err := FindLog(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	_, all := faults(t, l, -1)
	if len(all) != 3 || !strings.Contains(all[0], "begins with position 2") || !strings.Contains(all[1], "2 messages were deleted") || all[2] != "positions 3 to 4 are missing" {
		t.Errorf("faults %q", all)
	}
	if _, all := faults(t, l, 0); len(all) != 2 {
		t.Errorf("faults %q", all)
	}
}

// A seal that counts is neither an event nor a fault; one that nobody has set is
// both; and a partition that a seal has not come to is named.
func TestVerifyOfASealedLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	const horizon = int64(1000e9)
	publish := func(partition int, horizon int64) {
		if _, err := l.js.Publish(t.Context(), LogSubject(partition), AppendSeal(nil, horizon)); err != nil {
			t.Fatal(err)
		}
	}
	publish(2, horizon-1)
	if err := l.nameHorizon(t.Context(), horizon); err != nil { // a seal that comes no further than to 14 partitions
		t.Fatal(err)
	}
	for p := range l.Partitions() - 2 {
		publish(p, horizon)
	}
	counts, all := faults(t, l, -1)
	want := []string{
		"partition 14 is not sealed up to 1970-01-01T00:16:40Z, as the settings have it; 'holdmetrics seal --before 1970-01-01T00:16:40Z' completes it",
		"partition 15 is not sealed up to 1970-01-01T00:16:40Z, as the settings have it; 'holdmetrics seal --before 1970-01-01T00:16:40Z' completes it",
		"a seal that the settings of the log do not name; no dead letter says so: it is not applied yet, or the dead letters were deleted",
	}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("faults %q, want %q", all, want)
	}
	if c := counts[2]; c.Messages != 2 || c.Events != 1 || c.Refused != 1 || c.Horizon != horizon {
		t.Errorf("counts %+v", c)
	}
	if c := counts[3]; c.Messages != 1 || c.Events != 0 || c.Refused != 0 || c.Horizon != horizon {
		t.Errorf("counts %+v", c)
	}
	l.sealAfter = 0 // no other process produces
	if err := l.Seal(t.Context(), horizon, now); err != nil {
		t.Fatal(err)
	}
	if _, all := faults(t, l, -1); len(all) != 1 {
		t.Errorf("faults %q", all)
	}
}
