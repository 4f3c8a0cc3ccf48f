package processor

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// hold_score_seconds has the growth of live scores from snapshot to snapshot, so that its
// sum is what the scores have grown by; a retract is counted apart.
func TestScoreGrowth(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	registry := prometheus.NewRegistry()
	w := run(t, Config{Store: storetest.NewMemory(), Registerer: registry}, log, newMemBucket())
	testwait.Poll(t, "the partition runs", func() error {
		if s := w.Status()[0]; s.State != Running {
			return fmt.Errorf("it is %s", s.State)
		}
		return nil
	})
	step := func(d hold.Draft) {
		t.Helper()
		log.add(logBegin, d)
		testwait.Poll(t, "the snapshot is published", func() error {
			if s := w.Status()[0]; s.Published != log.last {
				return fmt.Errorf("published up to %d", s.Published)
			}
			return nil
		})
	}
	ended := held("ann", "t", logBegin-minute, logBegin)
	step(ended)
	step(held("ann", "u", logBegin-2*minute, logBegin))
	ended.Retract = true
	step(ended)
	w.finish(t, log)

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		switch f.GetName() {
		case "hold_score_seconds":
			h := f.GetMetric()[0].GetHistogram()
			if seen++; h.GetSampleCount() != 2 || h.GetSampleSum() != 180 {
				t.Errorf("%d snapshots have grown by %v, want 2 by 180", h.GetSampleCount(), h.GetSampleSum())
			}
		case "holdmetrics_score_decreases_total":
			if seen++; f.GetMetric()[0].GetCounter().GetValue() != 1 {
				t.Errorf("%v decreases, want the retract", f.GetMetric()[0])
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d of the two metrics are there", seen)
	}
}

// What a snapshot costs the metrics.
func BenchmarkSnapshotGrowth(b *testing.B) {
	p, messages := benchPartition(b, 1, 1)
	if err := p.apply.process(b.Context(), messages); err != nil {
		b.Fatal(err)
	}
	if err := p.mem.settle(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, h := range p.mem.cache.holders {
		r := projection.HolderRecord{Holder: h.name, Figures: h.figures()}
		b.ReportAllocs()
		for b.Loop() {
			p.metrics.snapshot(h, &r)
		}
	}
}
