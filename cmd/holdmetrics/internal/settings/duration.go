package settings

import (
	"errors"
	"strconv"
	"time"
)

// Duration is the value of a flag: a length of time as Go writes it (5m, 1h30m), or in
// whole seconds. It is kept in nanoseconds.
type Duration int64

var errDuration = errors.New("write it as 30s, 5m or 8760h, or as whole seconds; not negative")

// Set reads the text.
func (n *Duration) Set(text string) error {
	d, err := ParseDuration(text)
	if err == nil {
		*n = Duration(d)
	}
	return err
}

// String returns the length of time as Go writes it.
func (n *Duration) String() string { return time.Duration(*n).String() }

// Type returns its name in help texts.
func (n *Duration) Type() string { return "duration" }

// ParseDuration reads a length of time as [Duration.Set] does.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if seconds, isWhole := strconv.ParseInt(text, 10, 33); isWhole == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, errDuration
	}
	return d, nil
}
