package ingest

import "testing"

func TestBehind(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if got, err := l.Behind(t.Context(), 3, 0); err != nil || got != (Behind{}) {
		t.Errorf("an empty partition: %+v, %v", got, err)
	}
	frame := func(events int) []byte {
		var w FrameWriter
		d := open("t", "h", 1)
		for range events {
			w.AppendDraft(&d)
		}
		return w.Bytes()
	}
	var times []int64
	for i, events := range []int{1, 3, 2, 4, 5} { // odd ones are of another partition
		ack, err := l.js.Publish(t.Context(), LogSubject(3+i%2), frame(events))
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.Message(t.Context(), ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, m.Time)
	}
	for _, c := range []struct {
		partition int
		position  uint64
		want      Behind
	}{
		{3, 0, Behind{Messages: 3, First: times[0], Events: 9, Estimated: 3}},
		{3, 1, Behind{Messages: 2, First: times[2], Events: 7}},
		{3, 2, Behind{Messages: 2, First: times[2], Events: 7}},
		{3, 4, Behind{Messages: 1, First: times[4], Events: 5}},
		{3, 5, Behind{}},
		{4, 4, Behind{}},
		{Everywhere, 1, Behind{Messages: 4, First: times[1], Events: 16, Estimated: 8}},
	} {
		if got, err := l.Behind(t.Context(), c.partition, c.position); err != nil || got != c.want {
			t.Errorf("partition %d behind %d: %+v, %v; want %+v", c.partition, c.position, got, err, c.want)
		}
	}
	names := l.events.ConsumerNames(t.Context())
	for name := range names.Name() {
		t.Errorf("consumer %s is left", name)
	}
	if err := names.Err(); err != nil {
		t.Error(err)
	}
}
