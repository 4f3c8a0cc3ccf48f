package processor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
)

// A connection that breaks over and over, also while the reader waits for space, takes
// no message away, brings none twice, and none before an earlier one.
func TestReaderKeepsTheOrder(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	log, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	const events = 3000
	for i := range events { // of both partitions, one after the other
		if _, err := js.PublishAsync(ingest.LogSubject(i%2), fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	for _, c := range []struct {
		partition, messages int
		after               uint64
	}{{0, events / 2, 0}, {1, events/2 - 500, 1000}, {everyPartition, events - 7, 7}} {
		// Space for a few, so that the reader nearly always waits.
		in := newPrefetchBuffer(3 * messageBytes)
		stop, err := jetStreamLog{log, readBehind, nil}.read(t.Context(), c.partition, c.after, in, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		last, got := c.after, 0
		for got < c.messages {
			<-in.ready
			for _, m := range in.take() {
				if m.position <= last || c.partition == everyPartition && m.position != last+1 ||
					c.partition != everyPartition && last > c.after && m.position != last+2 {
					t.Fatalf("partition %d: position %d after %d", c.partition, m.position, last)
				}
				last = m.position
				if got++; got%200 == 0 {
					if err := js.Conn().ForceReconnect(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		in.close()
		stop()
		if last < events-1 {
			t.Errorf("partition %d: ended at %d", c.partition, last)
		}
	}
}

// elsewhere is a log whose consumers are on a server of their own, as those of a
// stream with replicas are.
type elsewhere struct {
	jetstream.JetStream
	at   atomic.Pointer[jetstream.JetStream]
	made chan struct{} // one for each consumer
}

func (e *elsewhere) CreateConsumer(ctx context.Context, stream string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	select {
	case e.made <- struct{}{}:
	default:
	}
	return (*e.at.Load()).CreateConsumer(ctx, stream, c)
}

// A server of a replicated log that is behind the others is not waited for.
func TestReaderLeavesReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	leader, late := startServer(t), startServer(t)
	js := &elsewhere{JetStream: leader, made: make(chan struct{}, 100)}
	js.at.Store(&late)
	log, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), ingest.LogSubject(1), []byte("1")); err != nil {
		t.Fatal(err)
	}
	copyLog(t, leader, late)
	if _, err := js.Publish(t.Context(), ingest.LogSubject(1), []byte("2")); err != nil {
		t.Fatal(err)
	}
	for _, partition := range []int{1, everyPartition} {
		js.at.Store(&late)
		in := newPrefetchBuffer(prefetchBytes)
		stop, err := jetStreamLog{log, 50 * time.Millisecond, nil}.read(t.Context(), partition, 0, in, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		take := func() {
			<-in.ready
			for _, m := range in.take() {
				got = append(got, string(m.data))
			}
		}
		take()
		for range 2 { // the second one is as far behind, and left as well
			<-js.made
		}
		js.at.Store(&leader)
		take()
		if !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("partition %d: %q", partition, got)
		}
		in.close()
		stop()
	}
}

// A reader that was stopped leaves no consumer on the server.
func TestReaderLeavesNothing(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	log, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	consumers := func() int {
		stream, err := js.Stream(t.Context(), ingest.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers
	}
	in := newPrefetchBuffer(prefetchBytes)
	stop, err := jetStreamLog{log, readBehind, nil}.read(t.Context(), 0, 0, in, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if n := consumers(); n != 1 {
		t.Errorf("%d consumers while it reads", n)
	}
	in.close()
	stop()
	if n := consumers(); n != 0 {
		t.Errorf("%d consumers after it", n)
	}
}

// copyLog makes the log of a server at another one: the same messages, with the same times.
func copyLog(t *testing.T, from, to jetstream.JetStream) {
	t.Helper()
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, "test", time.Unix(1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddStream(t.Context(), from.Conn(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := backup.Restore(t.Context(), &file, m, restored{t, to}, nil); err != nil {
		t.Fatal(err)
	}
}

type restored struct {
	t  *testing.T
	to jetstream.JetStream
}

func (r restored) File(backup.File, io.Reader) error { return nil }

func (r restored) Stream(s backup.Stream, from io.Reader) error {
	return backup.RestoreStream(r.t.Context(), r.to.Conn(), s, 0, from)
}
