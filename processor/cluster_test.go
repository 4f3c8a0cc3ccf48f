package processor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/processor/lease"
)

// natsCluster is three servers that keep everything three times.
type natsCluster struct {
	t       *testing.T
	options []*server.Options
	servers []*server.Server
}

func startCluster(t *testing.T) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, servers: make([]*server.Server, 3)}
	var routes []*url.URL
	var ports []int
	for range 3 {
		// A port that is free now. The routes must be known before the servers start.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	for i := range 3 {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: natstest.Dir(t), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		c.start(i)
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server of the cluster did not start")
		}
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	return c
}

// start starts a server, on the port that it had before.
func (c *natsCluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i])
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
}

func (c *natsCluster) stop(i int) {
	c.options[i].Port = c.servers[i].Addr().(*net.TCPAddr).Port
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// leader is the server that leads a stream.
func (c *natsCluster) leader(f *fleet, stream string) (i int) {
	c.t.Helper()
	f.eventually("the leader of "+stream, func(ctx context.Context) error {
		s, err := f.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info := s.CachedInfo().Cluster
		if i = slices.IndexFunc(c.options, func(o *server.Options) bool { return o.ServerName == info.Leader }); i < 0 {
			return fmt.Errorf("led by %q", info.Leader)
		}
		return nil
	})
	return i
}

func (c *natsCluster) connection() (string, []nats.Option) {
	var urls []string
	for _, s := range c.servers {
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ","), []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true),
	}
}

// Of three servers the one that leads the log, then the one that leads the leases, is
// stopped and started again while events come in and two workers apply them:
// everything that was acknowledged counts once, and no snapshot steps back.
func TestClusterThatLosesServers(t *testing.T) {
	if testing.Short() {
		t.Skip("elections take their time")
	}
	t.Parallel()
	testwait.Allow(t, 5*time.Minute) // servers come and go while it writes
	c := startCluster(t)
	f := openFleet(t, 4, 3, c.connection)
	defer f.forward()()
	quick := func(cfg *Config) { cfg.Ownership.Lease.Lease = 5 * time.Second }
	a, b := f.start("a", quick), f.start("b", quick)
	f.owned(map[string]int{"a": 2, "b": 2})
	for _, stream := range []string{ingest.StreamName, "KV_" + lease.Bucket("1")} {
		i := c.leader(f, stream)
		stopped := make(chan struct{})
		var flood sync.WaitGroup
		flood.Go(func() {
			for n := 0; ; n++ {
				f.send(8)
				select {
				case <-stopped:
					if n >= 5 {
						return
					}
				default:
				}
			}
		})
		c.stop(i)
		c.start(i)
		close(stopped)
		flood.Wait()
		f.applied()
	}
	f.owned(map[string]int{"a": 2, "b": 2})
	stream, err := f.js.Stream(t.Context(), ingest.StreamName)
	if err != nil || stream.CachedInfo().Config.Replicas != 3 {
		t.Errorf("%v", err)
	}
	f.finish(a)
	f.owned(map[string]int{"b": 4})
	f.send(8)
	f.applied()
	f.finish(b)
	f.compare()
}
