package crash

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

var (
	kills = flag.Int("kills", 4, "how often a process is disturbed in each test")
	seed  = flag.Uint64("seed", 0, "decides the events and the moments; 0: the time where -production is given, else 1")

	production = flag.Bool("production", false, "disturb gateways, workers, brokers and the database as often as serve, not only a little")

	// binary is holdmetrics, built once for all tests.
	binary string
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = 1
		if *production {
			*seed = uint64(time.Now().UnixNano())
		}
	}
	os.Exit(build.Run(func(path string) int {
		binary = path
		dir, err := os.MkdirTemp("", "holdmetrics-broker-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		brokerProgram.dir = dir
		if *production {
			return m.Run() // hours, by design
		}
		return testwait.Watch(m).Run()
	}))
}
