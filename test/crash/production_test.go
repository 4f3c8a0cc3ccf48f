package crash

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdmetrics/processor/hold"
)

const (
	// mongodFolder has a server that speaks MongoDB's protocol, beside the checkout.
	mongodFolder = "../../../shared/mongod"

	// lease is short, so that a run has many takeovers.
	lease = 2 * time.Second
)

// database starts the server, or skips the test where there is none.
func database(t *testing.T) (p *process, url string) {
	t.Helper()
	folder, err := filepath.Abs(mongodFolder)
	if err != nil {
		t.Fatal(err)
	}
	jar := filepath.Join(folder, "mongod.jar")
	if _, err := os.Stat(jar); err != nil {
		t.Skipf("no database to test with: %v", err)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skipf("no database to test with: mongo-java-server wants a Java runtime: %v", err)
	}
	address := ports(t, 1)[0]
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, "database", java, "-jar", jar, "--port", port, "--dbpath", t.TempDir()), "mongodb://" + address + "/"
}

// TestProduction disturbs two workers, two gateways, a cluster of three brokers
// and the database, one at a time.
func TestProduction(t *testing.T) {
	if !*production {
		t.Skip("it takes minutes; make crash runs it (-production)")
	}
	t.Parallel()
	db, mongoURL := database(t)
	cluster, natsURL := brokers(t)
	policy := hold.Merge
	at := ports(t, 6)
	shared := []string{"--nats-url", natsURL, "--mongodb-url", mongoURL, "--replicas", "3"}
	var procs []*process
	for i, name := range []string{"worker 1", "worker 2"} {
		procs = append(procs, run(t, name, append([]string{binary, "worker", "--metrics-address", at[i], "--worker-id", []string{"w1", "w2"}[i],
			"--lease", lease.String(), "--policy", policy.String()}, shared...)...))
	}
	doors := []string{at[2], at[4]}
	for i, name := range []string{"gateway 1", "gateway 2"} {
		procs = append(procs, run(t, name, append([]string{binary, "gateway", "--grpc-address", doors[i], "--http-address", at[3+2*i]}, shared...)...))
	}
	procs = append(procs, cluster...)
	procs = append(procs, db)

	t.Logf("seed %d", *seed)
	l := startLoad(t, 2, *seed, doors...)
	watchers := []*watcher{startWatcher(t, doors[0], true), startWatcher(t, doors[1], true)}
	c := &chaos{t: t, rand: rand.New(rand.NewPCG(*seed, 1<<33)), load: l, procs: procs, pause: lease + lease/2}
	l.more(t, batchSize)
	c.disturb(*kills)
	l.more(t, batchSize)
	acked, again := l.finish()
	updates, watches := 0, 0
	for i, door := range doors {
		compare(t, policy, acked, door)
		watchers[i].finish()
		updates, watches = updates+watchers[i].updates, watches+watchers[i].watches
	}
	t.Logf("%d events, %d batches sent again; %d kills (%d of them twice), %d pauses, %d clean stops; %d updates in %d watches",
		len(acked), again, c.killed, c.early, c.paused, c.restarted, updates, watches)
}
