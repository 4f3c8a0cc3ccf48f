package ingest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/processor/hold"
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
		if n > 0 && frameHeader+n == len(b) && v > 0 && v <= uint64(hold.Horizon) {
			return int64(v), nil
		}
	}
	return 0, fmt.Errorf("%w: a seal that does not decode", ErrMalformed)
}

// JudgeSeal reads a message that is meant to be a seal, and says whether it counts:
// whether it decodes, the settings name its horizon, and that was not ahead of the
// message. It decides as the processor does; the error is the reason of the dead
// letter, and the horizon is given where the seal decodes. asked is the error of a
// server that could not be asked.
func (l *Log) JudgeSeal(ctx context.Context, m *Message) (horizon int64, refused, asked error) {
	if horizon, refused = ReadSeal(m.Data); refused != nil {
		return 0, refused, nil
	}
	switch known, err := l.KnowsHorizon(ctx, horizon); {
	case err != nil:
		return horizon, nil, err
	case !known:
		refused = ErrHorizonUnknown
	case horizon > m.Time:
		refused = ErrHorizonAhead
	}
	return horizon, refused, nil
}

// Horizon is the latest instant before which what was held is final, as far as this
// Log knows; 0: there is none. A door refuses by it what no reader would take.
func (l *Log) Horizon() int64 {
	if all := *l.horizons.Load(); len(all) > 0 {
		return all[len(all)-1]
	}
	return 0
}

// KnowsHorizon says whether the settings of the log name a horizon. It asks the
// server where this Log does not know of it yet.
func (l *Log) KnowsHorizon(ctx context.Context, horizon int64) (bool, error) {
	if _, found := slices.BinarySearch(*l.horizons.Load(), horizon); found {
		return true, nil
	}
	info, err := l.events.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("ingest: read the horizons of the log: %w", err)
	}
	if err := l.openHorizons(&info.Config); err != nil {
		return false, err
	}
	_, found := slices.BinarySearch(*l.horizons.Load(), horizon)
	return found, nil
}

// Seal makes final what was held before a horizon, in every partition, from the end
// of the log on. A horizon that holds already, or an earlier one, changes nothing;
// after an error, doing it again completes it. now is the caller's clock: a horizon
// that is not at least a minute before it is refused, since readers go by the log's.
//
// The error matches [ErrHorizon] where the horizon cannot be one, and ErrLogSettings
// where the settings are damaged. As with SetLimits, one process may call it at a time.
func (l *Log) Seal(ctx context.Context, horizon, now int64) error {
	if horizon <= 0 || horizon > now-int64(time.Minute) {
		return fmt.Errorf("%w: %s is not at least a minute ago", ErrHorizon, time.Unix(0, horizon).UTC().Format(time.RFC3339Nano))
	}
	if err := l.nameHorizon(ctx, horizon); err != nil {
		return fmt.Errorf("ingest: seal the log: %w", err)
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
		info, err := l.events.Info(ctx)
		if err != nil {
			return err
		}
		if err := l.openHorizons(&info.Config); err != nil {
			return err
		}
		if l.Horizon() >= horizon {
			return nil
		}
		cfg := info.Config
		cfg.Metadata[metaHorizons] = formatHorizons(append(slices.Clone(*l.horizons.Load()), horizon))
		if _, err := l.js.UpdateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return errLimitsLost
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

// openHorizons reads the horizons of the settings, which ascend.
func (l *Log) openHorizons(c *jetstream.StreamConfig) error {
	horizons := []int64{}
	if text, found := c.Metadata[metaHorizons]; found {
		var texts []string
		bad := json.Unmarshal([]byte(text), &texts) != nil
		for i, t := range texts {
			at, err := time.Parse(time.RFC3339Nano, t)
			bad = bad || err != nil || at.Unix() < 0 || at.Unix() > hold.Horizon/1e9 || i > 0 && at.UnixNano() <= horizons[i-1]
			if !bad {
				horizons = append(horizons, at.UnixNano())
			}
		}
		if bad {
			return &LogSettingsError{
				Stream: StreamName, Setting: "metadata " + metaHorizons, Got: strconv.Quote(text), Want: "ascending times",
				Hint: "put back what the log had, with `nats stream edit " + StreamName + "`: without it a replay may decide otherwise than the first run",
			}
		}
	}
	l.horizons.Store(&horizons)
	return nil
}
