package app

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// valveLook is the time between two looks at how late the partitions are.
	valveLook = 10 * time.Millisecond
	// valveLate is how late events may be applied before producers are slowed, and
	// valveInTime when they no longer are.
	valveLate, valveInTime = 400 * time.Millisecond, 150 * time.Millisecond
	// valveShut is how long producers wait at a time, at most, and valveOpen how long they
	// do not wait after that: what is late may come past this process, or from a store that
	// is slow.
	valveShut, valveOpen = 250 * time.Millisecond, 50 * time.Millisecond
)

// valve slows the producers of this process while events are applied late, so that
// readers see what is current. The log alone would take more than can be applied.
type valve struct {
	late func() time.Duration // of the partitions that move

	shut  atomic.Pointer[chan struct{}] // closed when producers may pass; nil: they may
	since time.Time                     // of the last change
}

// slow returns what producers wait for, or nil. See ingest.ProducerOptions.
func (v *valve) slow() <-chan struct{} {
	if shut := v.shut.Load(); shut != nil {
		return *shut
	}
	return nil
}

// run looks until ctx ends.
func (v *valve) run(ctx context.Context) error {
	look := time.NewTicker(valveLook)
	defer look.Stop()
	defer v.open()
	for {
		select {
		case now := <-look.C:
			v.look(now)
		case <-ctx.Done():
			return nil
		}
	}
}

// look shuts the valve or opens it.
func (v *valve) look(now time.Time) {
	late, passed := v.late(), now.Sub(v.since)
	switch shut := v.shut.Load() != nil; {
	case !shut && late > valveLate && passed >= valveOpen:
		wait := make(chan struct{})
		v.shut.Store(&wait)
	case shut && (late < valveInTime || passed >= valveShut):
		v.open()
	default:
		return
	}
	v.since = now
}

func (v *valve) open() {
	if shut := v.shut.Swap(nil); shut != nil {
		close(*shut)
	}
}
