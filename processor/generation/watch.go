package generation

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Watch sends something whenever a record, `active` or `prepare` may have changed,
// and once at the start, until ctx ends. Several changes may be told at once.
// The watch is made again where the broker was away. The channel is closed when
// the watch has ended, soon after ctx did; whoever ends it waits for that.
func (r *Registry) Watch(ctx context.Context) <-chan struct{} {
	return r.watch(ctx, recordPrefix+">", activeKey, prepareKey)
}

// WatchAll is Watch of everything, doors and progress too.
func (r *Registry) WatchAll(ctx context.Context) <-chan struct{} { return r.watch(ctx, ">") }

// watchAgain is after how long a watch is made again, in case something was missed
// that nothing showed, and pauseAgain the pause where that failed.
const (
	watchAgain = 30 * time.Second
	pauseAgain = 250 * time.Millisecond
)

func (r *Registry) watch(ctx context.Context, patterns ...string) <-chan struct{} {
	told := make(chan struct{}, 1)
	tell := func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(told)
		for ctx.Err() == nil {
			tell()
			pause := r.follow(ctx, patterns, tell)
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}()
	return told
}

// follow tells of changes until it is time to begin anew, after a pause.
func (r *Registry) follow(ctx context.Context, patterns []string, tell func()) (pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, watchAgain)
	defer cancel()
	w, err := r.kv.WatchFiltered(ctx, patterns, jetstream.UpdatesOnly())
	if err != nil {
		return pauseAgain
	}
	defer w.Stop()
	tell() // what came before the watch stood
	for {
		select {
		case <-ctx.Done():
			return 0
		case _, ok := <-w.Updates():
			if !ok {
				return pauseAgain
			}
			tell()
		}
	}
}
