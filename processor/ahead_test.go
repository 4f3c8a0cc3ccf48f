package processor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

func TestLagInEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead             Ahead
		position, end     uint64
		events, estimated uint64
	}{
		"nothing is behind":                {Ahead{Position: 9, PerMessage: 100}, 9, 9, 0, 0},
		"nothing was read, nothing is":     {Ahead{}, 0, 0, 0, 0},
		"all is read":                      {Ahead{Events: 7, Position: 9, PerMessage: 3.5}, 4, 9, 7, 0},
		"some is read":                     {Ahead{Events: 7, Position: 9, Behind: 10, PerMessage: 2.55}, 4, 99, 33, 26},
		"nothing is read":                  {Ahead{Position: 4, Behind: 3, PerMessage: 512}, 4, 9, 1536, 1536},
		"nothing was ever read":            {Ahead{}, 0, 9, 1, 1},
		"one came since the last was read": {Ahead{Position: 4, PerMessage: 20}, 4, 9, 20, 20},
		"the report is older than the end": {Ahead{Position: 9, PerMessage: 20}, 4, 9, 1, 0},
		"messages of no event":             {Ahead{Position: 4, Behind: 3, PerMessage: 0.1}, 4, 9, 3, 3},
	} {
		if events, estimated := c.ahead.Lag(c.position, c.end); events != c.events || estimated != c.estimated {
			t.Errorf("%s: %d events, %d estimated; want %d and %d", name, events, estimated, c.events, c.estimated)
		}
	}
}

// heldStore does not answer a Load until it is let go.
type heldStore struct {
	projection.Store
	asked, free chan struct{}
}

func (s *heldStore) Load(ctx context.Context, partition int, keys []projection.PairKey) ([]*projection.PairRecord, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	select {
	case <-s.free:
		return s.Store.Load(ctx, partition, keys)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// While a batch is applied, all that is read and not applied is counted, event by
// event, with what is about to be refused or left out; and afterwards nothing is left of it.
func TestEventsReadAheadAreCounted(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	store := &heldStore{Store: storetest.NewMemory(), asked: make(chan struct{}, 1), free: make(chan struct{})}
	registry := prometheus.NewRegistry()
	holder := holderOf(0, 1, 1)
	event := func(minutes int64) hold.Draft {
		return held(holder, "t", logBegin-minutes*minute, logBegin-(minutes-1)*minute)
	}
	rules := &someRules{Rules: hold.PlainRules(hold.Merge), version: "v", excluded: map[string]bool{"pool": true}}
	log.add(logBegin, event(3))
	r := run(t, Config{Store: store, Registerer: registry, Rules: rules}, log, nil)
	<-store.asked
	refused := event(4)
	refused.Token = ""
	excluded := event(7)
	excluded.Holder = "pool"
	log.add(logBegin, event(5), refused, excluded, event(6))
	end := log.append(0, logBegin, false, []byte{0, 'H', 1, 200}) // damaged: one event, a dead letter
	var s PartitionStatus
	testwait.Poll(t, "all is read ahead", func() error {
		if s = r.Status()[0]; s.Ahead.Position != end {
			return fmt.Errorf("position %d of %d", s.Ahead.Position, end)
		}
		return nil
	})
	if events, estimated := s.Ahead.Lag(s.Position, end); events != 6 || estimated != 0 {
		t.Errorf("%d events, %d estimated, of %+v", events, estimated, s.Ahead)
	}
	log.mu.Lock()
	messages := uint64(len(log.messages[0]))
	log.mu.Unlock()
	if s.Pending != messages || messages < 3 {
		t.Errorf("%d messages are not applied of %d that were read: %+v", s.Pending, messages, s.Ahead)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`# HELP holdmetrics_lag_messages Messages of the partition that are not applied: those that are read, and those behind them as last heard.
# TYPE holdmetrics_lag_messages gauge
holdmetrics_lag_messages{partition="0"} %d
`, messages)), "holdmetrics_lag_messages"); err != nil {
		t.Error(err)
	}
	close(store.free)
	if err := r.WaitApplied(t.Context(), 0, end); err != nil {
		t.Fatal(err)
	}
	if s := r.Status()[0]; s.Pending != 0 || s.Ahead.Events != 0 || s.Ahead.PerMessage <= 1 {
		t.Errorf("%+v", s.Ahead)
	}
	for _, name := range []string{"holdmetrics_lag_events", "holdmetrics_lag_events_estimated"} {
		if n, err := testutil.GatherAndCount(registry, name); n != 1 || err != nil {
			t.Error(name, n, err)
		}
	}
	r.finish(t, log)
}
