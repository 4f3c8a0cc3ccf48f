package watch

import (
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// hookedSnapshots call a function when the hub has asked for the last change so often.
type hookedSnapshots struct {
	*fakes.Snapshots
	asked atomic.Int32 // how often; the hook runs when it becomes 0
	hook  func()
}

func (s *hookedSnapshots) Last() uint64 {
	if s.asked.Add(1) == 0 {
		s.hook()
	}
	return s.Snapshots.Last()
}

// The first watcher of some holders may join while the hub is busy with a round
// for watchers of all. What changes after it joined wakes it, also when that is in
// the midst of the round.
func TestTheHubMissesNothingOfWhoJoins(t *testing.T) {
	t.Parallel()
	s := &hookedSnapshots{Snapshots: fakes.ReadySnapshots()}
	s.asked.Store(1 << 20)
	h := NewHub(nil, s, Bounds{})
	defer h.Wait()
	everybody, err := h.join("", nameList{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.leave(everybody)
	joined := make(chan *watcher, 1)
	s.hook = func() {
		w, err := h.join("", newNameList([]string{ingest.SubjectToken("late")}), nil)
		if err != nil {
			t.Error(err)
		}
		s.Put(&holdpb.HoldStat{HolderId: "late"})
		joined <- w
	}
	s.asked.Store(-2) // the second time that it is asked from here on
	s.Put(&holdpb.HoldStat{HolderId: "early"})
	late := <-joined
	if late == nil {
		return
	}
	defer h.leave(late)
	select {
	case <-late.wake:
	case <-time.After(20 * time.Second):
		t.Fatal("a watcher did not see a change after it had joined")
	}
}
