package main

import (
	"errors"
	"strconv"
	"time"
)

// nanoseconds is a flag's length of time: as Go writes it (5m, 1h30m), or whole seconds.
type nanoseconds int64

var errDuration = errors.New("write it as 30s, 5m or 8760h, or as whole seconds; not negative")

// Set reads the text.
func (n *nanoseconds) Set(text string) error {
	d, err := parseDuration(text)
	if err == nil {
		*n = nanoseconds(d)
	}
	return err
}

// String is the length of time as Go writes it.
func (n *nanoseconds) String() string { return time.Duration(*n).String() }

// Type names it in help texts.
func (n *nanoseconds) Type() string { return "duration" }

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if seconds, isWhole := strconv.ParseInt(text, 10, 33); isWhole == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, errDuration
	}
	return d, nil
}
