package generation

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/kvwatch"
)

// Watch sends whenever a record, `active` or `prepare` may have changed, once at the
// start, and at least every 30 seconds, until ctx ends. Several changes may be sent as
// one. The channel is closed when the watch has ended, soon after ctx did; the caller
// waits for that.
//
// A reader looks at the registry each time. So a change that the broker did not report
// is seen half a minute later, and none is missed.
func (r *Registry) Watch(ctx context.Context) <-chan struct{} {
	return r.watch(ctx, recordPrefix+">", activeKey, prepareKey)
}

// WatchAll is Watch for all keys: reports of gateways and workers too.
func (r *Registry) WatchAll(ctx context.Context) <-chan struct{} { return r.watch(ctx, ">") }

// watchAgain is how long one watch of the broker's lasts before another one is opened,
// in case it has gone silent, and pauseAgain the pause if that fails.
const (
	watchAgain = 30 * time.Second
	pauseAgain = 250 * time.Millisecond
)

func (r *Registry) watch(ctx context.Context, patterns ...string) <-chan struct{} {
	changes := make(chan struct{}, 1)
	tell := func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(changes)
		for ctx.Err() == nil {
			tell()
			if backoff.Wait(ctx, r.follow(ctx, patterns, tell)) != nil {
				return
			}
		}
	}()
	return changes
}

// follow sends changes until it is time for another watch, after a pause.
func (r *Registry) follow(ctx context.Context, patterns []string, tell func()) (pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, watchAgain)
	defer cancel()
	w, err := r.kv.WatchFiltered(ctx, patterns, jetstream.UpdatesOnly())
	if err != nil {
		return pauseAgain
	}
	defer kvwatch.End(w, requestTimeout)
	tell() // what came before the watch was open
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
