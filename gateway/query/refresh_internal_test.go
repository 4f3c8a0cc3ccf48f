package query

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// What was noted of breaks is of the current snapshots alone, and bounded by them.
func TestBreaksAgainstTheSnapshots(t *testing.T) {
	t.Parallel()
	s := fakes.ReadySnapshots()
	r := readsOf(t, Backend{Snapshots: s}).Active().Relining
	random := rand.New(rand.NewPCG(1, 1))
	for range 6000 {
		holder := fmt.Sprint("h", random.IntN(40))
		stat := &holdpb.HoldStat{HolderId: holder, ScoreExact: fmt.Sprint(random.IntN(9))}
		if random.IntN(3) > 0 {
			stat.Until = fakes.Timestamp(fakes.TestNow + random.Int64N(1000)*int64(time.Second))
		}
		s.Put(stat)
		if random.IntN(20) == 0 {
			s.Remove(holder)
		}
		r.look()
		first := int64(math.MaxInt64)
		s.Each(func(c projection.Change) bool {
			if until := SnapshotUntil(c.Value); until != 0 {
				first = min(first, until)
			}
			return true
		})
		if got := r.next(); got != first && !(got == 0 && first == math.MaxInt64) {
			t.Fatalf("next is %d, want %d", got, first)
		}
		if len(r.order) > 2*40+breaksSpared+1 {
			t.Fatalf("%d entries of %d breaks", len(r.order), len(r.breaks))
		}
	}
	if key := ingest.SubjectToken("h1"); SnapshotUntil([]byte(key)) != 0 {
		t.Fatal("what does not decode has an end")
	}
}

// stillSnapshots take no line, as a view does while it is frozen.
type stillSnapshots struct {
	*fakes.Snapshots
	still bool
}

func (s *stillSnapshots) Reline(c projection.Change, value []byte) bool {
	return !s.still && s.Snapshots.Reline(c, value)
}

// A line that was over while the view stood still goes on when the switch has failed.
func TestLinesGoOnAfterAFailedSwitch(t *testing.T) {
	t.Parallel()
	store := storetest.NewMemory()
	fakes.ApplyTo(t, store, 4, nil, 1, 1e9, fakes.Held("x", "alice", fakes.TestNow/1e9-100, fakes.TestNow/1e9+10, 2))
	record, err := store.Holder(t.Context(), ingest.Partition("alice", 4), "alice")
	if err != nil {
		t.Fatal(err)
	}
	still := &stillSnapshots{Snapshots: fakes.ReadySnapshots(&holdpb.HoldStat{
		HolderId: "alice", Position: record.Position, Until: timestamppb.New(TimeOf(record.Figures.Line.Until)),
	}), still: true}
	b := readsOf(t, Backend{Reader: store, Snapshots: still}).Active()
	now := fakes.TestNow + 12*int64(time.Second)
	if err := b.Relining.work(t.Context(), now); !errors.Is(err, errFrozen) {
		t.Fatal(err)
	}
	still.still = false
	if err := b.Relining.work(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	still.Each(func(c projection.Change) bool {
		if until := SnapshotUntil(c.Value); until != 0 && until <= now {
			t.Errorf("the line of %s is over", c.Key)
		}
		return true
	})
}
