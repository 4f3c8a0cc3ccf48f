package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/query"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// countingLog is a log that counts what is behind a position.
type countingLog struct {
	fakes.Log
	asked  atomic.Int64
	behind func(partition int, position uint64) (ingest.Behind, error)
}

func (l *countingLog) Behind(_ context.Context, partition int, position uint64) (ingest.Behind, error) {
	l.asked.Add(1)
	return l.behind(partition, position)
}

// Where no owner says how far a partition is, the snapshots and the store do, and the
// log counts what is behind that.
func TestLagThatNoOwnerKnows(t *testing.T) {
	t.Parallel()
	const at = fakes.TestNow - 100e9
	log := &countingLog{Log: fakes.Log{Size: 5, Ends: map[int]uint64{0: 500, 1: 500, 2: 500, 3: 500, 4: 9}}}
	log.behind = func(partition int, position uint64) (ingest.Behind, error) {
		return ingest.Behind{Messages: 500 - position, First: fakes.TestNow - 50e9, Events: 3 * (500 - position), Estimated: 7}, nil
	}
	owned := &gatewaytest.Owners{Owned: []query.PartitionStatus{
		{Partition: 0, State: "no owner", Unknown: true},
		{Partition: 1, Owner: "a", State: "loading", Unknown: true, Moving: true, Epoch: 9},
		{Partition: 2, State: "no owner", Unknown: true},
		{Partition: 3, Owner: "a", State: "catching up", Position: 300, Pending: 1, LogTime: at, LastError: "the store is away",
			Lag: func(uint64) (uint64, uint64) { return 4, 1 }},
		{Partition: 4, State: "no owner", Unknown: true}, // with nothing behind it
	}}
	for name, away := range map[string]bool{"the store answers": false, "the store does not": true} {
		w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
			w.Cfg.Owners, w.Cfg.Log = owned, log
			snapshots := fakes.ReadySnapshots()
			snapshots.Reach(0, projection.Reached{Position: 100, LogTime: at})
			snapshots.Reach(4, projection.Reached{Position: 9, LogTime: at})
			w.Cfg.Snapshots = snapshots
			c := projection.Checkpoint{LogID: "log", Position: 200, Epoch: 7, LogTime: at + 10e9, Events: 20}
			if err := w.Store.Flush(t.Context(), &projection.Batch{Partition: 1, Checkpoint: c}); err != nil {
				t.Fatal(err)
			}
			if away {
				w.Store.SetHook(func(_ context.Context, op storetest.Op, _ int) error { return errors.New("away") })
			}
		})
		var body httpapi.StatusBody
		if err := json.Unmarshal(gatewaytest.Get(t, w, "/status", 200), &body); err != nil {
			t.Fatal(err)
		}
		type far struct {
			position, stored, published, epoch, lag, events, estimated uint64
			seconds                                                    float64
		}
		want := []far{
			{100, 0, 100, 0, 400, 1200, 7, 100},
			{200, 200, 0, 9, 300, 900, 7, 90},
			{0, 0, 0, 0, 500, 1500, 7, 50},
			{300, 0, 0, 0, 200, 600, 7, 100},
			{9, 0, 9, 0, 0, 0, 0, 0},
		}
		if away {
			want[1] = far{0, 0, 0, 9, 500, 1500, 7, 50}
		}
		for i, r := range body.Partitions {
			if r.LagSeconds == nil {
				t.Fatalf("%s: partition %d: no seconds", name, i)
			}
			if got := (far{r.Position, r.Stored, r.Published, r.Epoch, r.Lag, r.LagEvents, r.LagEstimated, *r.LagSeconds}); got != want[i] {
				t.Errorf("%s: partition %d: %+v, want %+v", name, i, got, want[i])
			}
		}
		if body.LagSeconds == nil || *body.LagSeconds != 100 {
			t.Errorf("%s: seconds %v", name, body.LagSeconds)
		}
	}
	// An owner that goes on is believed, and the log is asked nothing.
	before := log.asked.Load()
	owned.Owned = []query.PartitionStatus{{Partition: 0, Owner: "a", State: "running", Moving: true, Position: 490, Pending: 10, LogTime: at}}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Owners, w.Cfg.Log = owned, log })
	answer, err := w.Query().Status(t.Context(), &holdpb.Empty{})
	if err != nil || answer.Lag != 10 || log.asked.Load() != before {
		t.Error(answer, err)
	}
	// And of a log that cannot count there is no answer, rather than a lag of 1.
	log.behind = func(int, uint64) (ingest.Behind, error) { return ingest.Behind{}, errors.New("away") }
	owned.Owned[0] = query.PartitionStatus{State: "no owner", Unknown: true}
	gatewaytest.Get(t, w, "/status", 503)
}
