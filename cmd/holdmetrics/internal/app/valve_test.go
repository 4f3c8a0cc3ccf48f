package app

import (
	"testing"
	"time"
)

// Producers wait while events are applied late, never for long at a time, and no longer
// when the partitions have caught up.
func TestValve(t *testing.T) {
	t.Parallel()
	late := time.Duration(0)
	v := &valve{late: func() time.Duration { return late }}
	now := time.Unix(1, 0)
	look := func(after time.Duration) bool {
		now = now.Add(after)
		v.look(now)
		return v.slow() != nil
	}
	if look(time.Second) {
		t.Error("producers wait, and nothing is late")
	}
	late = valveLate + 1
	if !look(valveLook) {
		t.Fatal("producers do not wait for what is late")
	}
	passable := v.slow()
	if !look(valveShut - 1) {
		t.Error("producers do not wait any more")
	}
	if look(1) {
		t.Error("producers wait for longer than they should at a time")
	}
	select {
	case <-passable:
	default:
		t.Error("who waited still waits")
	}
	if look(valveOpen - 1) {
		t.Error("producers wait again at once")
	}
	if !look(1) {
		t.Error("producers do not wait again")
	}
	late = valveInTime
	if !look(valveLook) {
		t.Error("the valve opens early")
	}
	late--
	if look(valveLook) {
		t.Error("producers wait, and nothing is late any more")
	}
	v.open()
}
