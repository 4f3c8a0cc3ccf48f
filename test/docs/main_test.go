package docs

import (
	"flag"
	"os"
	"testing"

	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

var update = flag.Bool("update", false, "write what the commands of console blocks print into the pages")

// binary is holdmetrics, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(build.Run(func(path string) int {
		binary = path
		return testwait.Watch(m).Run()
	}))
}
