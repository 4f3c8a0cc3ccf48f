package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

// The limits of section "what is accepted" are settings, and settings change.
// What a server accepted under the old ones must not be refused by a replay under
// the new ones, and what was refused must not be let in. So the log itself says
// which limits held at which position: its metadata has the history of them,
// and a reader judges every message by those of its position.
const metaLimits = "holdmetrics_limits"

// limitsTries is how often SetLimits writes the metadata and reads it back.
const limitsTries = 5

// limitsFrom are limits that hold from a position of the log on.
type limitsFrom struct {
	from   uint64
	limits hold.Limits
}

// storedLimits is how metaLimits writes it: a JSON array of these, with lengths
// of time as people write them, since operators read it in `nats stream info`.
type storedLimits struct {
	From         uint64 `json:"from"`
	MaxClockSkew string `json:"max_clock_skew"`
	MaxFutureEnd string `json:"max_future_end"`
}

// LimitsAt returns the limits by which the message at a position of the log is
// judged, by every reader and at any time. It asks no server: the history is
// that of OpenLog, or of the last SetLimits of this Log.
func (l *Log) LimitsAt(position uint64) hold.Limits {
	history := *l.limits.Load()
	i := len(history) - 1 // nearly always: a reader is mostly at the end
	for i > 0 && position < history[i].from {
		i--
	}
	return history[i].limits
}

// SetLimits makes these the limits of all that is stored from now on, and writes
// that into the log. What is stored already keeps the limits that it came in
// under, also where the new ones are lower. Limits that hold already change
// nothing; the zero value is hold.DefaultLimits.
//
// Call it before a server opens or a worker reads. The broker offers no update on
// condition, so only one process of a log may call it at a time, and workers of
// other processes learn the new history when they open the log. The error
// matches ErrLogSettings where the metadata is damaged.
func (l *Log) SetLimits(ctx context.Context, limits hold.Limits) error {
	limits = limitsOr(limits)
	var err error
	for range limitsTries {
		var done bool
		if done, err = l.setLimits(ctx, limits); done || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("ingest: set the limits of the log: %w", err)
	}
	return nil
}

// setLimits reads the stream, and writes the history with one more entry where
// the limits are not those of the newest. It is done when it has read that they are.
func (l *Log) setLimits(ctx context.Context, limits hold.Limits) (done bool, err error) {
	info, err := l.events.Info(ctx)
	if err != nil {
		return false, err
	}
	if note, err := parseImport(info.Config.Metadata); err != nil || note != nil && note.Token != "" {
		return true, cmp.Or(err, ErrUnfinishedImport)
	}
	history, err := parseLimits(info.Config.Metadata)
	if err != nil {
		return true, err
	}
	if history[len(history)-1].limits == limits {
		l.limits.Store(&history)
		return true, nil
	}
	cfg := info.Config
	cfg.Metadata[metaLimits] = formatLimits(appendLimits(history, info.State.LastSeq+1, limits))
	if _, err = l.js.UpdateStream(ctx, cfg); err != nil {
		return false, err
	}
	return false, errLimitsLost // unless the next look finds them
}

var errLimitsLost = fmt.Errorf("%w: another process changed the stream %s at the same time (hint: start again, one after the other)", ErrLogSettings, StreamName)

// appendLimits adds what holds from a position on. An entry under which nothing
// was stored is replaced, so that starting again and again without an event
// makes no history longer.
func appendLimits(history []limitsFrom, from uint64, limits hold.Limits) []limitsFrom {
	history = slices.Clone(history)
	if last := &history[len(history)-1]; last.from >= from || from == 1 {
		last.limits = limits
		if n := len(history); n > 1 && history[n-2].limits == limits {
			history = history[:n-1]
		}
		return history
	}
	return append(history, limitsFrom{from, limits})
}

func limitsOr(l hold.Limits) hold.Limits {
	if l == (hold.Limits{}) {
		return hold.DefaultLimits()
	}
	return l
}

func formatLimits(history []limitsFrom) string {
	stored := make([]storedLimits, len(history))
	for i, h := range history {
		stored[i] = storedLimits{h.from, time.Duration(h.limits.MaxClockSkew).String(), time.Duration(h.limits.MaxFutureEnd).String()}
	}
	text, err := json.Marshal(stored)
	if err != nil {
		panic(err) // of numbers and strings: cannot be
	}
	return string(text)
}

// parseLimits reads the history, which is never empty and begins at position 0.
// A log without one has had the default limits from its beginning.
func parseLimits(metadata map[string]string) ([]limitsFrom, error) {
	text, found := metadata[metaLimits]
	if !found {
		return []limitsFrom{{0, hold.DefaultLimits()}}, nil
	}
	var stored []storedLimits
	bad := json.Unmarshal([]byte(text), &stored) != nil || len(stored) == 0 || stored[0].From != 0
	history := make([]limitsFrom, len(stored))
	for i, s := range stored {
		skew, err1 := time.ParseDuration(s.MaxClockSkew)
		end, err2 := time.ParseDuration(s.MaxFutureEnd)
		bad = bad || err1 != nil || err2 != nil || skew < 0 || end < 0 || i > 0 && s.From <= stored[i-1].From
		history[i] = limitsFrom{s.From, hold.Limits{MaxClockSkew: int64(skew), MaxFutureEnd: int64(end)}}
	}
	if bad {
		return nil, &LogSettingsError{
			Stream: StreamName, Setting: "metadata " + metaLimits, Got: strconv.Quote(text), Want: "the limits by position",
			Hint: "put back what the log had, which serve does by itself while it runs, or else with `nats stream edit " + StreamName + "`: without it a replay may decide otherwise than the first run",
		}
	}
	return history, nil
}

// metadataOf is what is fixed, or begins, when a log is made.
func metadataOf(cfg LogConfig, id string) map[string]string {
	return map[string]string{
		metaLogID:      id,
		metaPartitions: strconv.Itoa(cfg.Partitions),
		metaLimits:     formatLimits([]limitsFrom{{0, limitsOr(cfg.Limits)}}),
	}
}

// openLimits reads the history of an opened stream.
func (l *Log) openLimits(c *jetstream.StreamConfig) error {
	history, err := parseLimits(c.Metadata)
	if err != nil {
		return err
	}
	l.limits.Store(&history)
	return nil
}
