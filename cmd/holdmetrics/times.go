package main

import (
	"fmt"
	"time"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest/times"
)

// timeHelp says how a flag takes a time.
const timeHelp = "RFC 3339, unix seconds, or now"

// parseStamp reads the time that a flag gives; an empty text is none.
func parseStamp(flag, text string, now int64) (hold.Stamp, error) {
	if text == "now" {
		return hold.StampOf(now), nil
	}
	t, err := times.Reader{}.Parse(text)
	if err != nil {
		return hold.Stamp{}, usage.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// parseAsOf reads the time of --as-of in nanoseconds; false where none is given.
func parseAsOf(text string, now int64) (int64, bool, error) {
	return parseInstant("as-of", text, now)
}

// parseInstant reads the time of a flag in nanoseconds; false where none is given.
func parseInstant(flag, text string, now int64) (int64, bool, error) {
	t, err := parseStamp(flag, text, now)
	if err != nil || !t.Set {
		return 0, false, err
	}
	if t.Seconds < 0 || t.Seconds > hold.MaxTime/1e9 {
		return 0, false, usage.Errorf("--%s: %w", flag, fmt.Errorf("%w: %s", hold.ErrTime, text))
	}
	return t.Seconds*1e9 + int64(t.Nanos), true, nil
}

func wallClock() int64 { return time.Now().UnixNano() }
