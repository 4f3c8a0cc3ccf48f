package projection_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/projection"
)

// replicas is a bucket whose consumers are on a server of their own, as those of a
// stream with replicas are. That server has what the test has put there.
type replicas struct {
	jetstream.JetStream
	mu   sync.Mutex
	at   jetstream.JetStream
	made chan struct{} // one for each consumer
}

func (r *replicas) ask(js jetstream.JetStream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = js
}

func (r *replicas) asked() jetstream.JetStream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *replicas) CreateConsumer(ctx context.Context, stream string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	select {
	case r.made <- struct{}{}:
	default:
	}
	return r.asked().CreateConsumer(ctx, stream, c)
}

func (r *replicas) DeleteConsumer(ctx context.Context, stream, name string) error {
	return r.asked().DeleteConsumer(ctx, stream, name)
}

// consumers waits until so many more were made.
func (r *replicas) consumers(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-r.made:
		case <-ctx.Done():
			t.Fatal("no other consumer is asked for")
		}
	}
}

// A server of a replicated bucket that is behind the others tells a view nothing that
// the view would tell its readers.
func TestViewHeedsNoReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	leader, late, later := startBroker(t).connect(), startBroker(t).connect(), startBroker(t).connect()
	s, atLate, atLater := openSnapshots(t, leader, false), openSnapshots(t, late, false), openSnapshots(t, later, false)
	old, now := entries(20, "old"), entries(30, "now")
	for _, s := range []*projection.Snapshots{s, atLate, atLater} {
		publish(t, s, 0, old, 1)
	}
	publish(t, s, 0, now, 2)

	r := &replicas{JetStream: leader, at: late, made: make(chan struct{}, 1000)}
	v, err := s.WatchOn(ctx, r, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	r.consumers(ctx, t, 3)
	select {
	case <-v.Ready():
		t.Fatal("the view takes what the server has for what the bucket has")
	default:
	}
	if err := v.Err(); err == nil {
		t.Error("the view reports no error")
	}
	publish(t, atLate, 0, now, 2)
	for ready := false; !ready; { // as many as there were passes, in each of which was one
		if _, err := late.Publish(ctx, "$KV.HOLD_STATS_g1._read.mark", nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-v.Ready():
			ready = true
		case <-ctx.Done():
			t.Fatal("the server has come up with the others, and the view is not ready")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if got := contents(v); !maps.Equal(got, contentsOf(now)) {
		t.Fatalf("the view has %d holders, or old values: %v", len(got), got)
	}
	if err := v.WaitPosition(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}

	// It loses its connection, and then asks one that is behind again.
	last := v.Last()
	r.ask(later)
	for len(r.made) > 0 {
		<-r.made
	}
	if err := leader.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	r.consumers(ctx, t, 3)
	if got := contents(v); !maps.Equal(got, contentsOf(now)) || v.Position(0) != 2 {
		t.Errorf("the view went back: %v, position %d", got, v.Position(0))
	}
	if changes, _ := v.Changes(last, 100); len(changes) > 0 {
		t.Errorf("watchers see %d changes", len(changes))
	}
	r.ask(leader)
	publishUntil(ctx, t, s, entries(29, "next"), 3)
	if err := v.WaitPosition(ctx, 0, 3); err != nil {
		t.Fatal(err)
	}
	want := contentsOf(append(entries(29, "next"), now[29]))
	if got := contents(v); !maps.Equal(got, want) {
		t.Errorf("the view has %d holders, or old values: %v", len(got), got)
	}
	if err := v.Err(); err != nil {
		t.Errorf("error: %v", err)
	}

	// Nothing is pending where it asks next, and one holder has not come there: it was
	// written again, and is on its way. The leader has it, so it is not gone.
	last = v.Last()
	apart := startBroker(t).connect()
	atApart := openSnapshots(t, apart, false)
	publish(t, atApart, 0, entries(29, "next"), 3)
	follow := func(ahead uint64) { // brings apart to where the leader is, and no further
		info, err := leader.Stream(ctx, "KV_HOLD_STATS_g1")
		if err != nil {
			t.Fatal(err)
		}
		at, err := apart.Stream(ctx, "KV_HOLD_STATS_g1")
		if err != nil {
			t.Fatal(err)
		}
		for seq := at.CachedInfo().State.LastSeq; seq < info.CachedInfo().State.LastSeq+ahead; {
			ack, err := apart.Publish(ctx, "$KV.HOLD_STATS_g1._read.mark", nil)
			if err != nil {
				t.Fatal(err)
			}
			seq = ack.Sequence
		}
	}
	follow(1) // up to the position that the pass will need
	r.ask(apart)
	if err := leader.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	for v.Err() == nil { // until it has noticed
		pauseOr(ctx, t, "the view does not notice that its connection was lost")
	}
	for v.Err() != nil { // until it follows again
		follow(0) // a pass that failed left its mark with the leader, and a replica has it too
		pauseOr(ctx, t, "the view does not follow again: "+fmt.Sprint(v.Err()))
	}
	publish(t, atApart, 0, entries(1, "more"), 4)
	if err := v.WaitPosition(ctx, 0, 4); err != nil {
		t.Fatal(err)
	}
	if changes, _ := v.Changes(last, 100); len(changes) != 1 || changes[0].Gone || v.Len() != 30 {
		t.Errorf("%d holders, and %d changes: %v", v.Len(), len(changes), changes)
	}
}

// pauseOr is a short pause of a test that looks again and again; it ends the test
// when ctx is over.
func pauseOr(ctx context.Context, t *testing.T, missed string) {
	t.Helper()
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		t.Fatal(missed)
	}
}
