package crash

import (
	"flag"
	"os"
	"testing"
	"time"

	"holdmetrics/test/build"
)

var (
	kills = flag.Int("kills", 4, "how often a process is disturbed in each test")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "decides the events and the moments")

	production = flag.Bool("production", false, "also disturb gateways, workers, brokers and the database as processes of their own")

	// binary is holdmetrics, built once for all tests.
	binary string
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == brokerArgument {
		os.Exit(serveBroker(os.Args[2:]))
	}
	flag.Parse()
	os.Exit(build.Run(func(path string) int {
		binary = path
		return m.Run()
	}))
}
