package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/processor/lease"
	"holdmetrics/projection/mongo/mongotest"
)

// leaseTime is what a worker has by default.
const leaseTime = lease.DefaultLease

// database starts a server, or skips the test if there is none. One that is there
// already (MONGODB_URL) is used and never disturbed: p is nil.
func database(t *testing.T) (p *process, url string) {
	t.Helper()
	if url := os.Getenv("MONGODB_URL"); url != "" {
		t.Log("the database is the server of MONGODB_URL, which is not disturbed")
		return nil, url
	}
	program, err := mongotest.Program()
	if err != nil {
		t.Skipf("no database to kill: %v", err)
	}
	address := ports(t, 1)[0]
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("the database is", mongotest.Name(program))
	return runIn(t, mongotest.Environment(program), "database", program, "--port", port, "--dbpath", t.TempDir()), "mongodb://" + address + "/"
}

// documents is the cluster's database, which goes with the test.
func documents(t *testing.T, url, name string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	d := client.Database(name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if os.Getenv("MONGODB_URL") != "" {
			if err := d.Drop(ctx); err != nil {
				t.Errorf("the database %s is still there: %v", name, err)
			}
		}
		_ = client.Disconnect(ctx)
	})
	return d
}

// cluster is holdmetrics as in production: two workers and two gateways, a group of
// three brokers and a database, each a process of its own. One is enough for a small
// machine, so the tests that have one do not run beside each other.
type cluster struct {
	workers, gateways, brokers []*process
	database                   *process // nil: it is not ours
	documents                  *mongo.Database
	addresses                  []string // gRPC, of the gateways
	natsURL                    string
}

func startCluster(t *testing.T, policy hold.Policy, worker ...string) *cluster {
	t.Helper()
	return startClusterOf(t, binary, policy, worker...)
}

// startClusterOf is startCluster with the holdmetrics at a path.
func startClusterOf(t *testing.T, binary string, policy hold.Policy, worker ...string) *cluster {
	t.Helper()
	p := &cluster{}
	var url string
	p.database, url = database(t)
	p.documents = documents(t, url, fmt.Sprintf("holdmetrics_crash_%d", time.Now().UnixNano()))
	p.brokers, p.natsURL = brokers(t)
	p.awaitLeader(t)
	at := ports(t, 6)
	shared := []string{"--nats-url", p.natsURL, "--mongodb-url", url, "--mongodb-db", p.documents.Name(), "--replicas", "3"}
	for i, id := range []string{"w1", "w2"} {
		args := append([]string{binary, "worker", "--metrics-address", at[i], "--worker-id", id, "--policy", policy.String()}, shared...)
		p.workers = append(p.workers, run(t, fmt.Sprintf("worker %d", i+1), append(args, worker...)...))
	}
	for i := range 2 {
		p.addresses = append(p.addresses, at[2+2*i])
		args := append([]string{binary, "gateway", "--grpc-address", at[2+2*i], "--http-address", at[3+2*i]}, shared...)
		p.gateways = append(p.gateways, run(t, fmt.Sprintf("gateway %d", i+1), args...))
	}
	return p
}

func (p *cluster) all() []*process {
	all := slices.Concat(p.workers, p.gateways, p.brokers)
	if p.database != nil {
		all = append(all, p.database)
	}
	return all
}

// TestProduction disturbs the processes of a cluster, one at a time.
func TestProduction(t *testing.T) {
	most := *kills
	if !*production {
		if testing.Short() {
			t.Skip("a cluster and its elections take their time")
		}
		most = 0
	}
	p := startCluster(t, hold.Merge, "--lease", leaseTime.String())
	t.Logf("seed %d", *seed)
	l := startLoad(t, 2, *seed, p.addresses...)
	watchers := []*watcher{startWatcher(t, p.addresses[0], true), startWatcher(t, p.addresses[1], true)}
	c := newChaos(t, rand.New(rand.NewPCG(*seed, 1<<33)), l, leaseTime+leaseTime/2, p.all()...)
	l.more(t, batchSize)
	if most > 0 {
		c.disturb(most)
	} else {
		// A few of every kind; make crash has all of them, over and over.
		for _, s := range []strike{
			{killed, p.brokers[0]}, {restarted, p.workers[0]}, {killed, p.database}, {held, p.workers[1]},
			{killedTwice, p.gateways[0]}, {killed, p.workers[0]}, {held, p.brokers[1]}, {restarted, p.gateways[1]},
		} {
			if s.at != nil {
				c.do(s)
			}
		}
		c.alive()
	}
	l.more(t, batchSize)
	v := judge(t, hold.Merge, []*load{l}, p.addresses...)
	for _, w := range watchers {
		w.finish()
	}
	c.summary(v, watchers...)
}
