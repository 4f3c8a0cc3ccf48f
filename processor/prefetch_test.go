package processor

import "testing"

// Messages without a byte take memory too.
func TestPrefetchBufferOfEmptyMessagesIsBounded(t *testing.T) {
	t.Parallel()
	const most = 1000
	b := newPrefetchBuffer(most * messageBytes)
	for i := range most {
		if !b.put(message{position: uint64(i)}) {
			t.Fatal("closed")
		}
	}
	if b.bytes < b.limit {
		t.Fatalf("%d bytes of %d: the buffer grows without bound", b.bytes, b.limit)
	}
	done := make(chan bool)
	go func() { done <- b.put(message{position: most}) }()
	// The put that waits shows itself only when there is space: all that was put
	// before is taken at once, and it not among them.
	if n := len(b.take()); n != most {
		t.Errorf("%d messages in an prefetchBuffer for %d", n, most)
	}
	if !<-done || len(b.take()) != 1 {
		t.Error("the message that waited is lost")
	}
}
