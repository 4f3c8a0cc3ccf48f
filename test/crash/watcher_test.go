package crash

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"google.golang.org/grpc"

	holdpb "holdmetrics/proto"
)

// watcher watches all holders, over and over where the watch breaks, and looks
// whether the position of one ever steps back.
type watcher struct {
	t       *testing.T
	gateway holdpb.HoldMetricsClient
	seen    map[string]uint64 // position by holder
	// lasting says that what was seen counts for ever. The broker of serve keeps
	// snapshots in memory first, so a kill takes the last ones with it, which come
	// again; there, it counts for as long as the watch.
	lasting bool

	watches, updates int
	back             int // how often a position stepped back
	stop             context.CancelFunc
	done             sync.WaitGroup
}

func startWatcher(t *testing.T, address string, lasting bool) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t: t, gateway: holdpb.NewHoldMetricsClient(dial(t, address)), lasting: lasting, seen: map[string]uint64{}, stop: cancel}
	w.done.Go(func() {
		for ctx.Err() == nil {
			w.watch(ctx)
		}
	})
	t.Cleanup(w.finish)
	return w
}

func (w *watcher) finish() {
	w.stop()
	w.done.Wait()
}

// watch is one watch, until it breaks.
func (w *watcher) watch(ctx context.Context) {
	if !w.lasting {
		clear(w.seen)
	}
	stream, err := w.gateway.Stats(ctx, &holdpb.StatsRequest{Watch: true, Live: true}, grpc.WaitForReady(true))
	if err != nil {
		return
	}
	w.watches++
	for {
		s, err := stream.Recv()
		if err != nil {
			return
		}
		if s.Gone {
			w.t.Errorf("the snapshot of %q is gone", s.HolderId)
		}
		if s.Complete || s.HolderId == "" {
			continue
		}
		if s.Position < w.seen[s.HolderId] {
			w.back++
			w.t.Errorf("the position of %q stepped back from %d to %d", s.HolderId, w.seen[s.HolderId], s.Position)
		}
		w.seen[s.HolderId] = s.Position
		w.updates++
	}
}

// snapshots reads the current snapshots of all holders.
func snapshots(ctx context.Context, gateway holdpb.HoldMetricsClient, fn func(*holdpb.HoldStat)) error {
	stream, err := gateway.Stats(ctx, &holdpb.StatsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		s, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.HolderId != "" {
			fn(s)
		}
	}
}
