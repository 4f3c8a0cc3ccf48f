package usage

import (
	"fmt"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest/times"
)

// TimeHelp says how a flag takes a time.
const TimeHelp = "RFC 3339, a date, unix seconds, or now"

// ParseStamp reads the time that a flag gives; an empty text is none.
func ParseStamp(flag, text string, now int64) (hold.Stamp, error) {
	if text == "now" {
		return hold.StampOf(now), nil
	}
	t, err := times.Reader{}.Parse(text)
	if err != nil {
		return hold.Stamp{}, Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// ParseAsOf reads the time of --as-of in nanoseconds; false where none is given.
func ParseAsOf(text string, now int64) (int64, bool, error) {
	return ParseInstant("as-of", text, now)
}

// ParseInstant reads the time of a flag in nanoseconds; false where none is given.
func ParseInstant(flag, text string, now int64) (int64, bool, error) {
	t, err := ParseStamp(flag, text, now)
	if err != nil || !t.Set {
		return 0, false, err
	}
	if t.Seconds < 0 || t.Seconds > hold.MaxTime/1e9 {
		return 0, false, Errorf("--%s: %w", flag, fmt.Errorf("%w: %s", hold.ErrTime, text))
	}
	return t.Seconds*1e9 + int64(t.Nanos), true, nil
}

// WallClock returns the time in nanoseconds.
func WallClock() int64 { return time.Now().UnixNano() }
