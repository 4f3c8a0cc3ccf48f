package crash

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	holdpb "holdmetrics/proto"
)

// watcher reads snapshots over and over and looks whether a holder's position
// ever steps back.
type watcher struct {
	t    *testing.T
	door holdpb.HoldMetricsClient
	seen map[string]uint64 // position by holder
	// life is of the process whose kill takes the last snapshots with it, which come
	// again: the broker of serve keeps them in memory first. What was seen in one life
	// says nothing about the next. nil: there is no such process.
	life  func() int64
	lived int64 // the life that seen is of
	reads int
	stop  context.CancelFunc
	done  sync.WaitGroup
}

func startWatcher(t *testing.T, address string, life func() int64) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t: t, door: holdpb.NewHoldMetricsClient(dial(t, address)), seen: map[string]uint64{}, life: life, stop: cancel}
	w.done.Go(func() {
		for ctx.Err() == nil {
			w.read(ctx)
		}
	})
	t.Cleanup(w.finish)
	return w
}

func (w *watcher) finish() {
	w.stop()
	w.done.Wait()
}

func (w *watcher) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	w.forget()
	now := map[string]uint64{}
	err := snapshots(ctx, w.door, func(s *holdpb.HoldStat) { now[s.HolderId] = s.Position })
	if w.forget() {
		return
	}
	// Also what came of a read that failed was seen.
	for holder, position := range now {
		if position < w.seen[holder] {
			w.t.Errorf("the position of %q stepped back from %d to %d", holder, w.seen[holder], position)
		}
		w.seen[holder] = position
	}
	if err == nil {
		w.reads++
	}
}

// forget begins anew where another life has begun, and says so.
func (w *watcher) forget() bool {
	if w.life == nil || w.life() == w.lived {
		return false
	}
	w.lived = w.life()
	clear(w.seen)
	return true
}

// snapshots reads the current snapshots of all holders.
func snapshots(ctx context.Context, door holdpb.HoldMetricsClient, fn func(*holdpb.HoldStat)) error {
	stream, err := door.Stats(ctx, &holdpb.StatsRequest{}, grpc.WaitForReady(true))
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
