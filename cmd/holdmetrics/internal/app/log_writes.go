package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
)

const (
	// failsFor is how long the log may take no event until it is said so: longer than the
	// election of a leader takes.
	failsFor = 5 * time.Second
	// provesFor is how long it is believed that the log takes events, after it has taken
	// one. Then a message without events is sent: some hundred a day, if nothing else is.
	provesFor = 5 * time.Minute
	// againWrite and againWriteMost are the pauses between two tries while it takes none.
	againWrite     = time.Second
	againWriteMost = 10 * time.Second
)

// logWrites knows whether a log in another process takes events: by what became of those
// that were sent, or else of a message without events. It is safe for concurrent use.
type logWrites struct {
	probe func(context.Context) error // sends a message without events
	now   func() time.Time
	log   *zap.Logger

	mu      sync.Mutex
	taken   time.Time // when it took something last; zero: never yet
	failing time.Time // since when it has taken nothing that was sent; zero: it takes events
	lastErr error     // of the last try
	said    bool      // that it takes none
}

// note takes how a try to write ended.
func (w *logWrites) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		if w.said {
			w.log.Info("the log takes events again")
		}
		w.taken, w.failing, w.lastErr, w.said = w.now(), time.Time{}, nil, false
		return
	}
	if w.lastErr = err; w.failing.IsZero() {
		w.failing = w.now()
	}
	if !w.said && w.now().Sub(w.failing) > failsFor {
		w.said = true
		w.log.Error("the log takes no events", zap.Time("since", w.failing), zap.Error(err))
	}
}

// err returns why no event is taken, and since when, or nil. It wraps
// [ingest.ErrNotWritable].
func (w *logWrites) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.lastErr != nil && (w.taken.IsZero() || w.now().Sub(w.failing) > failsFor):
		return fmt.Errorf("%w: the brokers have taken none since %s: %w", ingest.ErrNotWritable, w.failing.UTC().Format(time.RFC3339), w.lastErr)
	case w.taken.IsZero():
		return fmt.Errorf("%w: it is not known yet whether the brokers take any", ingest.ErrNotWritable)
	}
	return nil
}

// due reports whether a message is to be sent to find out.
func (w *logWrites) due() (failing, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr != nil, w.lastErr != nil || w.now().Sub(w.taken) >= provesFor
}

// look sends a message if nothing else has shown for a while that the log takes events.
func (w *logWrites) look(ctx context.Context) {
	if _, due := w.due(); !due {
		return
	}
	within, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	if err := w.probe(within); ctx.Err() == nil {
		w.note(err)
	}
}

// run looks until ctx ends.
func (w *logWrites) run(ctx context.Context) error {
	pauses := backoff.Backoff{First: againWrite, Most: againWriteMost}
	for {
		w.look(ctx)
		if failing, _ := w.due(); !failing {
			pauses.Reset()
		}
		if pauses.Wait(ctx) != nil {
			return nil
		}
	}
}
