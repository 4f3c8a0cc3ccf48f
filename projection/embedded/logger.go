package embedded

import (
	"fmt"
	"runtime"
	"strings"
)

// fatalError is what Pebble panics with, by way of pebbleLogger, where it cannot
// go on.
type fatalError struct{ message string }

func (e fatalError) Error() string { return e.message }

// pebbleLogger passes on what Pebble says.
//
// Pebble takes Fatalf not to return. It calls it if a write fails that it cannot do
// without: to the log of writes, in the goroutine of a commit, or to the manifest, in a
// goroutine of its own. Fatalf takes the store out of service. In a call of the store it
// panics, and the call turns that into an error. In a goroutine of Pebble's it ends that
// goroutine and not the process, which then stops in order. What was acknowledged is on
// disk, and the next start reads it.
type pebbleLogger struct {
	to     Logger
	health *health
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.to != nil {
		l.to.Infof(format, args...)
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.to != nil {
		l.to.Errorf(format, args...)
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fatalError{fmt.Sprintf(format, args...)}
	l.Errorf("%v", err)
	if inCall() {
		panic(err)
	}
	l.health.giveUp(err)
}

// inCall reports whether the goroutine is in a call of a store, and not Pebble's own.
func inCall() bool {
	var callers [64]uintptr
	for skip := 2; ; skip += len(callers) {
		n := runtime.Callers(skip, callers[:])
		for frames := runtime.CallersFrames(callers[:n]); ; {
			frame, more := frames.Next()
			if strings.Contains(frame.Function, "/projection/embedded.(*Store).") || strings.Contains(frame.Function, "/projection/embedded.(*health).unlessGivenUp") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(callers) {
			return false
		}
	}
}

// recoverFatal turns what pebbleLogger panics with into an error.
func recoverFatal(err *error) {
	switch r := recover().(type) {
	case nil:
	case fatalError:
		*err = r
	default:
		panic(r)
	}
}
