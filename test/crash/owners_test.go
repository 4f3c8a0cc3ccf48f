package crash

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/processor/lease"
)

// partitions is how many a cluster's log has.
const partitions = 16

// connect gives the JetStream of a cluster.
func (p *cluster) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(p.natsURL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// change is something that became of a partition's lease.
type change struct {
	key   string
	given bool // up by its owner; else taken, renewed, or run out
}

// owners follows the leases of a cluster.
type owners struct {
	t    *testing.T
	view *lease.View
}

func (p *cluster) owners(t *testing.T, js jetstream.JetStream) *owners {
	t.Helper()
	o := &owners{t: t, view: lease.Watch(js, "1", nil)}
	t.Cleanup(o.view.Close)
	return o
}

// shared waits until the partitions are owned like this, and says when they were.
func (o *owners) shared(want map[string]int) time.Time {
	o.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		changed := o.view.Changed()
		have := map[string]int{}
		for _, owner := range o.view.Owners() {
			have[owner.Worker]++
		}
		same := len(have) == len(want)
		for worker, n := range want {
			same = same && have[worker] == n
		}
		if same {
			return time.Now()
		}
		select {
		case <-changed:
		case <-late.C:
			o.t.Fatalf("the partitions are shared %v, want %v", have, want)
		}
	}
}

// changes follows what becomes of the partitions' leases from now on, until stop.
func changes(t *testing.T, js jetstream.JetStream) (seen <-chan change, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	kv, err := js.KeyValue(ctx, lease.Bucket("1"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := kv.WatchAll(t.Context(), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	out, done := make(chan change, 10_000), make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.Updates() {
			if e == nil || !strings.HasPrefix(e.Key(), "partition.") {
				continue
			}
			select {
			case out <- change{key: e.Key(), given: e.Operation() == jetstream.KeyValueDelete}:
			default:
			}
		}
	}()
	return out, func() {
		_ = w.Stop()
		<-done
	}
}
