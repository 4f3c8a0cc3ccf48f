package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
)

// A backup of serve, whose log is sealed, becomes the log of three servers that keep
// it three times: settings are those of a replicated log, and any one of the servers
// can be away.
func TestRestoreToThreeServers(t *testing.T) {
	t.Parallel()
	said := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out}); code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, &out)
		}
		return out.String()
	}
	dir := t.TempDir()
	p, stop := started(t, dir)
	here := "nats://" + p.Broker.Address().String()
	var events errgroup.Group // at once: one after the other each waits for the disk
	for i := range 300 {
		events.Go(func() error {
			_, err := p.Producer.Record(t.Context(), &hold.Draft{Token: "T", Holder: fmt.Sprintf("h%d", i%20), Start: hold.StampOf(int64(100+i) * 1e9), End: hold.StampOf(int64(200+i) * 1e9)})
			return err
		})
	}
	if err := events.Wait(); err != nil {
		t.Fatal(err)
	}
	said(append([]string{"seal", "--before", "1000", "--nats-url", here}, asOperator(dir)...)...)
	file := filepath.Join(t.TempDir(), "log.backup")
	said(append([]string{"backup", file, "--nats-url", here}, asOperator(dir)...)...)
	want := said(append([]string{"log", "--format", "csv", "--nats-url", here}, asOperator(dir)...)...)
	stop()

	servers, options, urls := threeServers(t)
	said("restore", file, "--nats-url", urls, "--replicas", "3")
	conn, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	current := func() error {
		for _, name := range []string{ingest.StreamName, ingest.DeadLetterStream, "KV_HOLD_META"} {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				return err
			}
			info := s.CachedInfo()
			if info.Config.Replicas != 3 || info.Config.Compression != jetstream.NoCompression {
				t.Fatalf("stream %s: %d replicas, compression %v", name, info.Config.Replicas, info.Config.Compression)
			}
			if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
				return fmt.Errorf("%s: %+v", name, info.Cluster)
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current {
					return fmt.Errorf("%s of %s is behind", r.Name, name)
				}
			}
		}
		return nil
	}
	eventually(t, "all have all", func() error { return current() })
	if got := said("log", "--format", "csv", "--nats-url", urls); got != want {
		t.Errorf("the log is\n%s\nand was\n%s", got, want)
	}
	if got := said("log", "verify", "--nats-url", urls); !strings.Contains(got, "sealed: all before 1970-01-01T00:16:40Z\n") {
		t.Error(got)
	}

	// Each in turn is away.
	for i, s := range servers {
		s.Shutdown()
		s.WaitForShutdown()
		eventually(t, "the other two go on", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			log, err := ingest.FindLog(ctx, js)
			if err != nil {
				return err
			}
			d := hold.Draft{Token: "T", Holder: "late", Start: hold.StampOf(int64(2000+i) * 1e9)}
			_, err = js.Publish(ctx, ingest.RawSubject("late"), ingest.AppendEvent(nil, &d))
			if err != nil {
				return err
			}
			last, err := log.LastPosition(ctx)
			if err != nil {
				return err
			}
			n := uint64(0)
			for _, err := range log.Read(ctx, ingest.Range{To: last}) {
				if err != nil {
					return err
				}
				n++
			}
			if n != last {
				return errors.New("messages are missing")
			}
			return nil
		})
		again, err := server.NewServer(options[i])
		if err != nil {
			t.Fatal(err)
		}
		again.Start()
		t.Cleanup(func() { again.Shutdown(); again.WaitForShutdown() })
		eventually(t, "it is back", func() error { return current() })
	}
	said("log", "verify", "--partition", "0", "--nats-url", urls)
}

// threeServers are a cluster, and the addresses of all of them.
func threeServers(t *testing.T) (servers []*server.Server, options []*server.Options, urls string) {
	t.Helper()
	freePort := func() int { // which must be known before the server starts
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	var routes []*url.URL
	var ports []int
	for range 3 {
		ports = append(ports, freePort())
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[len(ports)-1])})
	}
	var all []string
	for i := range 3 {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: natstest.Dir(t), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers, options = append(servers, s), append(options, o)
	}
	for i, s := range servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server of the cluster did not start")
		}
		options[i].Port = s.Addr().(*net.TCPAddr).Port
		all = append(all, s.ClientURL())
	}
	// A majority elects a leader, which may not have heard of the third yet: then it
	// finds no place for three replicas.
	eventually(t, "a leader that knows all three", func() error {
		i := slices.IndexFunc(servers, (*server.Server).JetStreamIsLeader)
		if i < 0 {
			return errors.New("there is none")
		}
		if peers := servers[i].JetStreamClusterPeers(); len(peers) < 3 {
			return fmt.Errorf("it knows %v", peers)
		}
		return nil
	})
	return servers, options, strings.Join(all, ",")
}
