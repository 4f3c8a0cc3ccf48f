package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

const (
	// guardLook is the time between two looks at what could have changed, and guardWithin
	// bounds one comparison of the log with the store.
	guardLook   = 500 * time.Millisecond
	guardWithin = 10 * time.Second
	// settingsLook is the time between two looks at the settings of the log and the records.
	settingsLook = 2 * time.Second
)

// logGuard knows whether the log still has what was applied from it. If it does not, no
// event may be taken: new events would take the positions of lost ones. It compares the
// log with the store before the first event is taken, and when the log may have been
// opened from its files again.
type logGuard struct {
	conn    *nats.Conn
	compare func(context.Context) error // the log with the store
	failed  func() error                // damage that failed a partition; nil: none is known here
	log     *zap.Logger
	// settings looks at what others may have changed: the settings of the log and the
	// records of the generations. It mends what it can; nil: nothing is looked at.
	settings func(context.Context) error

	changed condition // what it could not mend

	refused atomic.Pointer[error] // why no event is taken; nil: nothing is known

	looking sync.Mutex
	known   bool   // compare has given an answer
	seen    uint64 // reconnections before that
}

// err returns why no event is taken, or nil. It wraps [ingest.ErrNotWritable].
func (g *logGuard) err() error {
	if err := g.refused.Load(); err != nil {
		return *err
	}
	return g.changed.err()
}

// lookAtSettings looks at the settings now.
func (g *logGuard) lookAtSettings(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, guardWithin)
	defer cancel()
	err := g.settings(within)
	if err != nil && !isLasting(err) {
		return // the broker did not answer, which says nothing of them
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ingest.ErrNotWritable, err)
	}
	switch was := g.changed.set(err); {
	case err != nil && !was:
		g.log.Error("no events are taken", zap.Error(err))
	case err == nil && was:
		g.log.Info("the settings of the log and the records are as they should be; events are taken")
	}
}

// isLasting reports whether an error says that settings or records were changed.
func isLasting(err error) bool {
	for _, lasting := range []error{ingest.ErrLogSettings, ingest.ErrLogMissing, ingest.ErrLogDamaged, generation.ErrRecord} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}

// look compares the log with the store now.
func (g *logGuard) look(ctx context.Context) {
	g.looking.Lock()
	defer g.looking.Unlock()
	within, cancel := context.WithTimeout(ctx, guardWithin)
	defer cancel()
	seen := g.conn.Stats().Reconnects
	err := g.compare(within)
	switch {
	case err == nil, errors.Is(err, projection.ErrCorrupt): // which says nothing of the log
		g.known, g.seen = true, seen
		g.set(nil)
	case errors.Is(err, ingest.ErrLogDamaged):
		g.known, g.seen = true, seen
		g.set(err)
	default:
		if ctx.Err() == nil && !g.known {
			g.log.Debug("the log cannot be compared with the store; trying again", zap.Error(err))
		}
		g.known = false
	}
}

// set keeps a reason, and logs it when it is the first, or gone.
func (g *logGuard) set(err error) {
	if err == nil && g.failed != nil {
		err = g.failed()
	}
	was := g.refused.Load()
	if err == nil {
		if g.refused.Store(nil); was != nil {
			g.log.Info("the log has what was applied; events are taken")
		}
		return
	}
	err = fmt.Errorf("%w: %w", ingest.ErrNotWritable, err)
	if g.refused.Store(&err); was == nil {
		g.log.Error("no events are taken", zap.Error(err))
	}
}

// run looks again when the connection was lost, while there is no answer, and while
// events are refused.
func (g *logGuard) run(ctx context.Context) error {
	ticker := time.NewTicker(guardLook)
	defer ticker.Stop()
	for ticks := 0; ; ticks++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if g.settings != nil && ticks%int(settingsLook/guardLook) == 0 && g.conn.IsConnected() {
			g.lookAtSettings(ctx)
		}
		g.looking.Lock()
		due := !g.known || g.seen != g.conn.Stats().Reconnects || g.refused.Load() != nil ||
			g.failed != nil && g.failed() != nil
		g.looking.Unlock()
		if due && g.conn.IsConnected() {
			g.look(ctx)
		}
	}
}
