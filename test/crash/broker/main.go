// Command broker is a NATS server of a cluster, for the tests of package crash. It is a
// program of its own, without the race detector: the tests look for races in
// holdmetrics, and a broker that does so takes a multiple of the processor.
//
//	broker DIR ADDRESS ROUTE ROUTES
//
// DIR is its directory, ADDRESS and ROUTE are what it listens on for clients and for its
// neighbours, and ROUTES are those of all of them, with commas between.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: broker DIR ADDRESS ROUTE ROUTES")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host, port, err := split(args[1])
	if err != nil {
		return err
	}
	routeHost, routePort, err := split(args[2])
	if err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: "n" + strconv.Itoa(port),
		Host:       host, Port: port,
		Cluster:    server.ClusterOpts{Name: "crash", Host: routeHost, Port: routePort},
		JetStream:  true,
		StoreDir:   args[0],
		SyncAlways: true,
		NoSigs:     true,
	}
	for _, r := range strings.Split(args[3], ",") {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("the NATS server does not listen on %s", args[1])
	}
	fmt.Println("Ctrl-C stops it.")
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}
