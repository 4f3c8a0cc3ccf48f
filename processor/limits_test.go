package processor

import (
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection/storetest"
)

// Each message is judged by the limits that the log had at its position, so a
// replay decides as the first run did, whatever the limits are by then.
func TestLimitsOfThePosition(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	ahead := func(holder string) hold.Draft { return held(holder, "t", logBegin-minute, logBegin+60*minute) }
	log.add(logBegin, ahead("before"))
	accepted := log.add(logBegin, ahead("accepted"))
	log.add(logBegin, ahead("after"))
	log.limits = func(position uint64) hold.Limits {
		if position == accepted {
			return hold.Limits{MaxClockSkew: minute, MaxFutureEnd: 100 * minute}
		}
		return hold.DefaultLimits()
	}
	store := storetest.NewMemory()
	run(t, Config{Store: store}, log, nil).finish(t, log)
	if got := stateOf(t, store, 0).holders; len(got) != 1 || got["accepted"].Position != accepted {
		t.Errorf("holders %+v, want the one of position %d", got, accepted)
	}
	if len(log.deadLetters) != 2 {
		t.Errorf("%d dead letters, want 2", len(log.deadLetters))
	}
}
