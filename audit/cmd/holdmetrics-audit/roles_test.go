package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdmetrics/audit/immutest"
	"holdmetrics/internal/testwait"
)

// roleVariable makes the program of these tests another one, so that a process that is
// killed need not be built: holdmetrics-audit itself, an immudb server or a NATS server.
const roleVariable = "HOLDMETRICS_AUDIT_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if *kills > fewKills {
		os.Exit(m.Run()) // minutes, by design
	}
	os.Exit(testwait.Watch(m).Run())
}

// up is what a process of these tests prints when it listens.
const up = "Ctrl-C stops it."

func play(role string, args []string) error {
	ready := func() { fmt.Println(up) }
	switch {
	case role == "audit":
		main()
	case role == "immudb" && len(args) == 2:
		return immutest.Serve(args[0], args[1], ready)
	case role == "nats" && len(args) == 2:
		return broker(args[0], args[1], ready)
	}
	return fmt.Errorf("no role %s with %q", role, args)
}

// broker is a NATS server.
func broker(dir, address string, ready func()) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{Host: host, Port: port, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return fmt.Errorf("the NATS server does not listen on %s", address)
	}
	ready()
	s.WaitForShutdown()
	return nil
}
