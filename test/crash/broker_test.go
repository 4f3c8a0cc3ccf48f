package crash

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdmetrics/test/build"
)

// brokerProgram is the path of the program broker, which is built for the first test
// that wants it.
var brokerProgram struct {
	once sync.Once
	dir  string // TestMain removes it
	path string
	err  error
}

// brokers are three NATS servers in a cluster, each a process of its own.
func brokers(t *testing.T) (procs []*process, url string) {
	t.Helper()
	b := &brokerProgram
	b.once.Do(func() {
		b.path = filepath.Join(b.dir, "broker")
		b.err = build.Program(context.Background(), "holdmetrics/test/crash/broker", b.path, false)
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	const n = 3
	at := ports(t, 2*n)
	clients, routes := at[:n], at[n:]
	for i := range n {
		procs = append(procs, run(t, fmt.Sprintf("broker %d", i+1), b.path,
			t.TempDir(), clients[i], routes[i], strings.Join(routes, ",")))
	}
	return procs, "nats://" + strings.Join(clients, ",nats://")
}

// awaitLeader waits until the brokers have a leader. Before, they answer no request of
// JetStream.
func (p *cluster) awaitLeader(t *testing.T) {
	t.Helper()
	js := p.connect(t)
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := js.AccountInfo(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatal("the brokers have no leader:", err)
		}
		time.Sleep(lookAgain)
	}
}
