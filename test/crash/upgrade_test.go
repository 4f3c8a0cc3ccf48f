package crash

import (
	"errors"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

// TestRollingUpgrade replaces the processes of a cluster of the last release by those of
// this program, one after the other and under load. Nothing is lost, no figure is wrong
// and no watcher sees a position step back while both are at work.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster and its elections take their time")
	}
	testwait.Allow(t, testwait.Longest) // it may have to be built
	release, commit, err := build.LastRelease(t.Context(), *production)
	if errors.Is(err, build.ErrNoRelease) || errors.Is(err, build.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the release is of commit %s", commit)
	p := startClusterOf(t, release, hold.Merge, "--lease", leaseTime.String())
	l := startLoad(t, 2, *seed, p.addresses...)
	watchers := []*watcher{startWatcher(t, p.addresses[0], true), startWatcher(t, p.addresses[1], true)}
	l.more(t, 2*batchSize)
	// In this order each kind meets the other kind of both versions.
	for _, next := range []*process{p.workers[0], p.gateways[0], p.workers[1], p.gateways[1]} {
		t.Logf("after %d events: %s is replaced", l.events.Load(), next.name)
		next.args = append([]string{binary}, next.args[1:]...)
		next.restart()
		l.more(t, 2*batchSize)
	}
	for _, next := range p.all() {
		next.alive()
	}
	v := judge(t, hold.Merge, []*load{l}, p.addresses...)
	updates, back := 0, 0
	for _, w := range watchers {
		w.finish()
		updates, back = updates+w.updates, back+w.back
	}
	t.Logf("%d events acknowledged, %d pairs compared, %d different; %d updates, in which a position stepped back %d times", v.events, v.pairs, v.differences, updates, back)
}
