package main

import (
	"errors"
	"strings"
	"testing"
)

// What broke is an error of the process once, whether or not serve has seen it
// before the stop.
func TestWhatBrokeIsSaidOnce(t *testing.T) {
	t.Parallel()
	broke, late := errors.New("a door broke"), errors.New("not everything was flushed")
	for _, seen := range []bool{false, true} {
		p := &plant{failed: make(chan error, 4)}
		p.onStop(func() error { return late })
		p.failed <- broke
		var first error
		if seen {
			first = <-p.failed
		}
		err := errors.Join(first, p.stop())
		if err == nil || strings.Count(err.Error(), broke.Error()) != 1 || !errors.Is(err, late) {
			t.Errorf("seen %t: %v", seen, err)
		}
	}
}
