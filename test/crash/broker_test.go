package crash

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// brokerArgument makes this test binary a NATS server: what follows are its
// directory, its own addresses and the routes to its neighbours.
const brokerArgument = "nats-server"

// brokers are three NATS servers in a cluster, each a process of its own.
func brokers(t *testing.T) (procs []*process, url string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const n = 3
	at := ports(t, 2*n)
	clients, routes := at[:n], at[n:]
	for i := range n {
		procs = append(procs, run(t, fmt.Sprintf("broker %d", i+1), self, brokerArgument,
			t.TempDir(), clients[i], routes[i], strings.Join(routes, ",")))
	}
	return procs, "nats://" + strings.Join(clients, ",nats://")
}

// serveBroker is the main function of such a process.
func serveBroker(args []string) int {
	if err := broker(args[0], args[1], args[2], strings.Split(args[3], ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func broker(dir, client, route string, routes []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host, port := split(client)
	routeHost, routePort := split(route)
	opts := &server.Options{
		ServerName: "n" + strconv.Itoa(port),
		Host:       host, Port: port,
		Cluster:    server.ClusterOpts{Name: "crash", Host: routeHost, Port: routePort},
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,
		NoSigs:     true,
	}
	for _, r := range routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("the NATS server does not listen on %s", client)
	}
	fmt.Println(banner)
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

func split(address string) (host string, port int) {
	host, text, _ := strings.Cut(address, ":")
	port, _ = strconv.Atoi(text)
	return host, port
}
