package crash

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/build"
)

// What is asked of a handover. A busy machine is slower, and so are processes that look
// for races, so a short run only tells the figures; in a long one without the race
// detector (make crash has one), of several handovers, the quickest has to keep to it.
const (
	cleanWithin = time.Second     // from SIGTERM until the others own everything
	freshWithin = 2 * time.Second // the longest that an event waits to be seen meanwhile
	deadWithin  = 2 * time.Second // beyond the lease, from SIGKILL until the others own everything
)

// probe sends an event to every partition in turn, and looks how long it takes until
// a watcher sees it.
type probe struct {
	t    *testing.T
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	waiting map[string][]sent // by holder, oldest first
	worst   time.Duration     // since the last call of fresh
	seen    int               // events since then
}

type sent struct {
	position uint64
	at       time.Time
}

func startProbe(t *testing.T, address string) *probe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &probe{t: t, stop: cancel, waiting: map[string][]sent{}}
	conn := dial(t, address)
	var holders []string
	for partition := range partitions {
		for i := 0; ; i++ {
			if holder := fmt.Sprintf("probe-%d", i); ingest.Partition(holder, partitions) == partition {
				holders = append(holders, holder)
				break
			}
		}
	}
	client := holdpb.NewHoldMetricsClient(conn)
	p.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			holder := holders[n%len(holders)]
			start := firstDay + int64(n)
			ack, err := client.Record(ctx, &holdpb.HoldMsg{
				TokenId: "t", HolderId: holder, Start: &timestamppb.Timestamp{Seconds: start}, End: &timestamppb.Timestamp{Seconds: start + 1},
			}, grpc.WaitForReady(true))
			if err != nil {
				continue
			}
			p.mu.Lock()
			p.waiting[holder] = append(p.waiting[holder], sent{ack.Position, time.Now()})
			p.mu.Unlock()
			time.Sleep(5 * time.Millisecond) // a trickle, so that nothing waits for its turn
		}
	})
	p.done.Go(func() {
		for ctx.Err() == nil {
			stream, err := client.Stats(ctx, &holdpb.StatsRequest{Watch: true, Live: true}, grpc.WaitForReady(true))
			for err == nil {
				var s *holdpb.HoldStat
				if s, err = stream.Recv(); err == nil {
					p.saw(s)
				}
			}
		}
	})
	t.Cleanup(p.finish)
	return p
}

func (p *probe) finish() {
	p.stop()
	p.done.Wait()
}

func (p *probe) saw(s *holdpb.HoldStat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.waiting[s.HolderId]
	for len(waiting) > 0 && waiting[0].position <= s.Position {
		p.worst = max(p.worst, time.Since(waiting[0].at))
		p.seen++
		waiting = waiting[1:]
	}
	p.waiting[s.HolderId] = waiting
}

// fresh waits until everything that was acknowledged up to now was seen, and so many
// events since the last call; it gives how long one of them had to wait at most.
func (p *probe) fresh(events int) time.Duration {
	p.t.Helper()
	asked := time.Now()
	for {
		p.mu.Lock()
		oldest := asked
		for _, waiting := range p.waiting {
			if len(waiting) > 0 && waiting[0].at.Before(oldest) {
				oldest = waiting[0].at
			}
		}
		worst := p.worst
		if !oldest.Before(asked) && p.seen >= events {
			p.worst, p.seen = 0, 0
			p.mu.Unlock()
			return worst
		}
		p.mu.Unlock()
		if time.Since(asked) > patience {
			p.t.Fatal("an event that was acknowledged is not seen")
		}
		time.Sleep(time.Millisecond) // polls what has no event
	}
}

// A worker that is stopped with SIGTERM gives its partitions up itself, before it
// ends; one that is killed is followed when its leases have run out. Nothing of what
// was acknowledged meanwhile is lost. The figures are logged.
func TestHandover(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster and its elections take their time")
	}
	rounds := 1
	if *production {
		rounds = 5
	}
	// The leases of a worker that is asked to stop never run out here, however slow the
	// machine is: if others have its partitions, it gave them up.
	const never = time.Hour
	p := startCluster(t, hold.Merge, "--lease", never.String())
	js := p.connect(t)
	o := p.owners(t, js)
	even := map[string]int{"w1": partitions / 2, "w2": partitions / 2}
	o.shared(even)
	conn := dial(t, p.addresses[0])
	settle(t, conn)
	watch := startWatcher(t, p.addresses[1], true)
	probing := startProbe(t, p.addresses[0])
	var clean, dead, cleanGap, deadGap []time.Duration
	for range rounds {
		probing.fresh(0)
		steady := probing.fresh(5 * partitions)
		seen, stop := changes(t, js)
		began := time.Now()
		if err := p.workers[0].end(syscall.SIGTERM); err != nil {
			t.Errorf("the worker was asked to stop and ended with %v", err)
		}
		ended := time.Since(began)
		took := o.shared(map[string]int{"w2": partitions}).Sub(began)
		gap := probing.fresh(partitions)
		stop()
		given := map[string]bool{}
		for len(seen) > 0 {
			if c := <-seen; c.given {
				given[c.key] = true
			}
		}
		if len(given) != partitions/2 {
			t.Errorf("a worker that was asked to stop gave %d leases up, and the others had to run out", len(given))
		}
		clean, cleanGap = append(clean, took), append(cleanGap, gap)
		t.Logf("SIGTERM: all partitions at the other worker after %s, process ended after %s, an event waited %s at most (%s before)", ms(took), ms(ended), ms(gap), ms(steady))

		p.workers[0].args = append(p.workers[0].args, "--lease", leaseTime.String())
		p.workers[0].start()
		o.shared(even)
		probing.fresh(0)
		steady = probing.fresh(5 * partitions)
		began = time.Now()
		if err := p.workers[0].end(syscall.SIGKILL); err == nil {
			t.Error("a worker that was killed ended well")
		}
		took = o.shared(map[string]int{"w2": partitions}).Sub(began)
		gap = probing.fresh(partitions)
		dead, deadGap = append(dead, took), append(deadGap, gap)
		t.Logf("SIGKILL: all partitions at the other worker after %s, of which %s are the lease; an event waited %s at most (%s before)", ms(took), leaseTime, ms(gap), ms(steady))
		p.workers[0].args = append(p.workers[0].args, "--lease", never.String())
		p.workers[0].start()
		o.shared(even)
	}
	probing.finish()
	settle(t, conn)
	watch.finish()
	for _, m := range []struct {
		what string
		took []time.Duration
		most time.Duration
	}{
		{"handover after SIGTERM", clean, cleanWithin},
		{"longest wait of an event meanwhile", cleanGap, freshWithin},
		{"takeover after SIGKILL", dead, leaseTime + deadWithin},
		{"longest wait of an event meanwhile", deadGap, 0},
	} {
		slices.Sort(m.took)
		t.Logf("%s: %s to %s, median %s; asked for: %s", m.what, ms(m.took[0]), ms(m.took[len(m.took)-1]), ms(m.took[len(m.took)/2]), m.most)
		if m.most > 0 && *production && !build.Race && m.took[0] > m.most {
			t.Errorf("%s: %s at best, asked for are %s", m.what, ms(m.took[0]), m.most)
		}
	}
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
