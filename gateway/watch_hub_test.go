package gateway

import (
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// hookedSnapshots call a function when the hub has asked for the last change so often.
type hookedSnapshots struct {
	*fakeSnapshots
	asked atomic.Int32 // how often; the hook runs when it becomes 0
	hook  func()
}

func (s *hookedSnapshots) Last() uint64 {
	if s.asked.Add(1) == 0 {
		s.hook()
	}
	return s.fakeSnapshots.Last()
}

// The first watcher of some holders may join while the hub is busy with a round
// for watchers of all. What changes after it joined wakes it, also when that is in
// the midst of the round.
func TestTheHubMissesNothingOfWhoJoins(t *testing.T) {
	t.Parallel()
	s := &hookedSnapshots{fakeSnapshots: readySnapshots()}
	s.asked.Store(1 << 20)
	h := newWatchHub(nil, s)
	defer h.wait()
	everybody, err := h.join(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.leave(everybody)
	joined := make(chan *watcher, 1)
	s.hook = func() {
		w, err := h.join([]string{ingest.SubjectToken("late")})
		if err != nil {
			t.Error(err)
		}
		s.put(&holdpb.HoldStat{HolderId: "late"})
		joined <- w
	}
	s.asked.Store(-2) // the second time that it is asked from here on
	s.put(&holdpb.HoldStat{HolderId: "early"})
	late := <-joined
	if late == nil {
		return
	}
	defer h.leave(late)
	select {
	case <-late.wake:
	case <-time.After(20 * time.Second):
		t.Fatal("a watcher was not told of what changed after it had joined")
	}
}
