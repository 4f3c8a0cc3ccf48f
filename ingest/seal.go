package ingest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/internal/backoff"
)

// A log is sealed up to a horizon by a message in each of its partitions:
//
//	0x00 'S' 0x01   uvarint nanoseconds
//
// From that message on, what was held before the horizon is final, for every reader
// of the partition, whenever it reads it. Anyone may publish to the log who may
// record an event, so the message alone is not enough: the settings of the stream,
// which only who may change the stream can write, must name the horizon. They have
// it first, and keep it.
const (
	metaHorizons = "holdmetrics_horizons"

	sealMagic1  = 'S'
	sealVersion = 1
)

// IsSeal reports whether b is meant to be a seal rather than events.
func IsSeal(b []byte) bool { return len(b) >= 2 && b[0] == frameMagic0 && b[1] == sealMagic1 }

// AppendSeal appends the message that seals a partition up to a horizon.
func AppendSeal(dst []byte, horizon int64) []byte {
	return binary.AppendUvarint(append(dst, frameMagic0, sealMagic1, sealVersion), uint64(horizon))
}

// ReadSeal gives the horizon that a seal names. Its errors wrap [ErrMalformed].
func ReadSeal(b []byte) (int64, error) {
	if IsSeal(b) && len(b) > frameHeader && b[2] == sealVersion {
		v, n := binary.Uvarint(b[frameHeader:])
		if n > 0 && frameHeader+n == len(b) && v > 0 && v <= uint64(hold.MaxTime) {
			return int64(v), nil
		}
	}
	return 0, fmt.Errorf("%w: a seal that does not decode", ErrMalformed)
}

// SealRefused says why a seal up to a horizon does not count, of a message of that
// time: whether the settings name the horizon is known. nil: it counts.
func SealRefused(horizon, at int64, known bool) error {
	switch {
	case !known:
		return ErrHorizonUnknown
	case horizon > at:
		return ErrHorizonAhead
	}
	return nil
}

// JudgeSeal reads a message that is meant to be a seal, and reports whether it counts:
// whether it decodes, the settings name its horizon, and that was not ahead of the
// message. It decides as the processor does; the error is the reason of the dead
// dead letter, and the horizon is given where the seal decodes. asked is the error of a
// server that could not be asked.
func (l *Log) JudgeSeal(ctx context.Context, m *Message) (horizon int64, refused, asked error) {
	if horizon, refused = ReadSeal(m.Data); refused != nil {
		return 0, refused, nil
	}
	known, asked := l.KnowsHorizon(ctx, horizon)
	if asked != nil {
		return horizon, nil, asked
	}
	return horizon, SealRefused(horizon, m.Time, known), nil
}

// Seal makes final what was held before a horizon, in every partition, from the end
// of the log on. A horizon that holds already, or an earlier one, changes nothing;
// after an error, doing it again completes it. It takes some seconds ([Log.SealsIn]),
// in which the producers learn of the horizon. now is the caller's clock: a horizon
// that is not at least a minute before it is refused, since readers go by the log's.
//
// The error matches [ErrHorizon] where the horizon cannot be one, and ErrLogSettings
// where the settings are damaged. As with SetLimits, one process may call it at a time.
func (l *Log) Seal(ctx context.Context, horizon, now int64) error {
	if err := CheckHorizon(horizon, now); err != nil {
		return err
	}
	if err := l.nameHorizon(ctx, horizon); err != nil {
		return fmt.Errorf("ingest: seal the log: %w", err)
	}
	if backoff.Wait(ctx, l.sealAfter) != nil {
		return fmt.Errorf("ingest: seal the log (doing it again completes it): %w", context.Cause(ctx))
	}
	for partition := range l.partitions {
		if _, err := l.js.Publish(ctx, LogSubject(partition), AppendSeal(nil, l.Horizon())); err != nil {
			return fmt.Errorf("ingest: seal partition %d of the log (doing it again completes it): %w", partition, err)
		}
	}
	return nil
}

// nameHorizon puts a horizon into the settings, unless a later one is there.
func (l *Log) nameHorizon(ctx context.Context, horizon int64) error {
	for range limitsTries {
		info, err := l.info(ctx)
		if err != nil {
			return err
		}
		all, err := parseHorizons(&info.Config)
		if err != nil {
			return err
		}
		l.learnHorizons(all, time.Time{})
		if latest(all) >= horizon {
			return nil
		}
		cfg := info.Config
		cfg.Metadata[metaHorizons] = formatHorizons(append(all, horizon))
		if _, err := l.js.UpdateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return errLimitsLost
}

// CheckHorizon reports whether a log can be sealed up to a horizon; see [Log.Seal].
func CheckHorizon(horizon, now int64) error {
	if horizon <= 0 || horizon > now-int64(time.Minute) {
		return fmt.Errorf("%w: %s is not at least a minute ago", ErrHorizon, time.Unix(0, horizon).UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func formatHorizons(horizons []int64) string {
	texts := make([]string, len(horizons))
	for i, h := range horizons {
		texts[i] = time.Unix(0, h).UTC().Format(time.RFC3339Nano)
	}
	text, err := json.Marshal(texts)
	if err != nil {
		panic(err) // of strings: cannot be
	}
	return string(text)
}

// parseHorizons reads the horizons of the settings, which ascend.
func parseHorizons(c *jetstream.StreamConfig) ([]int64, error) {
	horizons := []int64{}
	if text, found := c.Metadata[metaHorizons]; found {
		var texts []string
		bad := json.Unmarshal([]byte(text), &texts) != nil
		for i, t := range texts {
			at, err := time.Parse(time.RFC3339Nano, t)
			bad = bad || err != nil || at.Unix() < 0 || at.Unix() > hold.MaxTime/1e9 || i > 0 && at.UnixNano() <= horizons[i-1]
			if !bad {
				horizons = append(horizons, at.UnixNano())
			}
		}
		if bad {
			return nil, &LogSettingsError{
				Stream: StreamName, Setting: "metadata " + metaHorizons, Got: strconv.Quote(text), Want: "ascending times",
				Hint: "put back what the log had, which serve does by itself while it runs, or else with `nats stream edit " + StreamName + "`: without it a replay may decide otherwise than the first run",
			}
		}
	}
	return horizons, nil
}
