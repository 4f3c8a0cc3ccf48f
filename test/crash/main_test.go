package crash

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holdmetrics-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "holdmetrics")
	args := append([]string{"build", "-buildvcs=false", "-o", binary}, raceFlags...)
	if out, err := exec.Command("go", append(args, "holdmetrics/cmd/holdmetrics")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary under test: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
