package projection_test

import (
	"fmt"
	"runtime"
	"testing"

	"holdmetrics/projection"
)

func benchEntries(n int) []projection.Entry {
	all := make([]projection.Entry, n)
	for i := range all {
		all[i] = projection.Entry{Key: fmt.Sprintf("0x%040x", uint64(i)*0x9E3779B97F4A7C15), Value: make([]byte, 200)}
	}
	return all
}

// Publishes of 10,000 snapshots of 200 bytes, one publisher, broker in this process.
func BenchmarkPublish(b *testing.B) {
	for _, async := range []bool{true, false} {
		b.Run(fmt.Sprintf("async=%v", async), func(b *testing.B) {
			s := openSnapshots(b, startBroker(b).connect(), async)
			all := benchEntries(10_000)
			position := uint64(0)
			for b.Loop() {
				position++
				publish(b, s, 0, all, position)
			}
			b.ReportMetric(float64(b.N)*float64(len(all))/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// Opening a view of a bucket of 100,000 holders, and what it keeps of one.
func BenchmarkViewOpen(b *testing.B) {
	const holders = 100_000
	s := openSnapshots(b, startBroker(b).connect(), true)
	publish(b, s, 0, benchEntries(holders), 1)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var kept uint64
	for b.Loop() {
		before := heap()
		v := watch(b, s)
		if err := v.WaitPosition(within(b), 0, 1); err != nil {
			b.Fatal(err)
		}
		if after := heap(); after > before {
			kept = (after - before) / holders
		}
		_ = v.Close()
	}
	b.ReportMetric(float64(b.N)*holders/b.Elapsed().Seconds(), "holders/s")
	b.ReportMetric(float64(kept), "B/holder")
}
