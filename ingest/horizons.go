package ingest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A producer must not acknowledge what every reader will refuse, so it has to know of
// a horizon before the log has its seal. The sealing process cannot notify the
// producers, since any Go program may be one and their number is unknown. They go by
// time instead, as a lease does:
//
//   - A producer may use the server's answer about horizons for knownFor, from when it
//     asked. A [Producer] asks every askEvery. If that failed, it asks before it
//     reports an acknowledgement. A frame that it checked by an outdated answer counts
//     as not acknowledged.
//   - The sealing process names the horizon in the settings, waits for longer than
//     knownFor, and then publishes the seals.
//
// So an acknowledgement that a caller received came before the seal, or its event
// was checked by the horizon.
const (
	askEvery  = time.Second
	knownFor  = 3 * time.Second
	sealAfter = 4 * time.Second
	// sealAfterReplicated allows for a leader that is cut off from the others, and
	// goes on answering as such for ten seconds.
	sealAfterReplicated = 15 * time.Second
)

// horizons are what is known of the horizons of a log. An answer of the server that
// says the same makes them fresher, and one that says more takes their place.
type horizons struct {
	all   []int64                   // ascending, never changed
	asked atomic.Pointer[time.Time] // when the server was asked that said so last; nil: long ago
}

// latest is the last of some horizons, or 0.
func latest(all []int64) int64 {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

// fresh reports whether the log had no seal yet, at a time, that h does not have. The
// clock of the process stands still while the machine sleeps, and the machine's may
// be set back, so both count.
func (h *horizons) fresh(now time.Time) bool {
	asked := h.asked.Load()
	return asked != nil && now.Sub(*asked) < knownFor && now.Round(0).Sub(asked.Round(0)) < knownFor
}

// Horizon is the latest horizon that this Log knows: what was held before it is final;
// 0: there is none. A server refuses by it what no reader would take.
func (l *Log) Horizon() int64 { return latest(l.known().all) }

// SealsIn is how long [Log.Seal] waits between naming a horizon and sealing by it.
func (l *Log) SealsIn() time.Duration { return l.sealAfter }

// KnowsHorizon reports whether the settings of the log name a horizon. It asks the
// server where this Log does not know of it yet.
func (l *Log) KnowsHorizon(ctx context.Context, horizon int64) (bool, error) {
	if _, found := slices.BinarySearch(l.known().all, horizon); found {
		return true, nil
	}
	if err := l.askHorizons(ctx); err != nil {
		return false, err
	}
	_, found := slices.BinarySearch(l.known().all, horizon)
	return found, nil
}

func (l *Log) known() *horizons { return l.horizons.Load() }

// askHorizons asks the server.
func (l *Log) askHorizons(ctx context.Context) error {
	asked := time.Now()
	info, err := l.info(ctx)
	if err != nil {
		return fmt.Errorf("ingest: read the horizons of the log: %w", err)
	}
	return l.openHorizons(&info.Config, asked)
}

// openHorizons reads the horizons of the settings. asked is when the leader was asked
// for them; zero: long ago, or another one answered.
func (l *Log) openHorizons(c *jetstream.StreamConfig, asked time.Time) error {
	all, err := parseHorizons(c)
	if err == nil {
		l.learnHorizons(all, asked)
	}
	return err
}

// learnHorizons takes an answer of the server. The settings keep what they have, so
// one that says less is older than what is known.
func (l *Log) learnHorizons(all []int64, asked time.Time) {
	l.learning.Lock()
	defer l.learning.Unlock()
	h := l.horizons.Load()
	switch {
	case h == nil || len(all) > len(h.all):
		h = &horizons{all: slices.Clone(all)}
	case len(all) < len(h.all):
		return
	}
	if was := h.asked.Load(); !asked.IsZero() && (was == nil || was.Before(asked)) {
		h.asked.Store(&asked)
	}
	l.horizons.Store(h)
}
