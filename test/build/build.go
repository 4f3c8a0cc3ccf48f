// Package build builds the holdmetrics that tests run as a process.
package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Run builds holdmetrics in a directory of its own, calls use with its path, and
// removes it. It is for a TestMain, whose exit code it gives: that of use, or 1
// where the building failed, which is told on standard error. The binary looks
// for races where the tests do.
func Run(use func(path string) int) int {
	dir, err := os.MkdirTemp("", "holdmetrics-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "holdmetrics")
	args := append([]string{"build", "-buildvcs=false", "-o", path}, raceFlags...)
	if out, err := exec.Command("go", append(args, "holdmetrics/cmd/holdmetrics")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary under test: %v\n%s", err, out)
		return 1
	}
	return use(path)
}

// Environment is that of this process without the settings of holdmetrics, so
// that what the machine sets does not reach a process under test.
func Environment() []string {
	env := os.Environ()
	for _, name := range []string{
		"DATA_DIR", "GRPC_ADDRESS", "HTTP_HOST", "HTTP_PORT", "NATS_ADDRESS", "NATS_URL", "POLICY", "MAX_CLOCK_SKEW",
		"MAX_FUTURE_END", "GC_INTERVAL", "LOG_LEVEL", "MONGODB_URL", "MONGODB_URI", "MONGODB_DB",
	} {
		env = append(env, name+"=")
	}
	return env
}
