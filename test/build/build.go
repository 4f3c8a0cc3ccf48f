// Package build builds the holdmetrics that tests run as a process.
package build

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Variable names the environment variable with the path of a holdmetrics that was
// built before, so that several packages of tests share one.
const Variable = "HOLDMETRICS_TEST_BINARY"

// command is the package of the product.
const command = "holdmetrics/cmd/holdmetrics"

// Run calls use with the path of a holdmetrics: the one that [Variable] names, or
// else one that it builds, and removes at the end. It is for a TestMain and returns
// its exit code: that of use, or 1 if there is nothing to run, with the reason on
// standard error. The binary looks for races if the tests do.
//
// Servers and commands find one another in a directory of this run alone.
func Run(use func(path string) int) int {
	runtime, err := os.MkdirTemp("", "holdmetrics-runtime-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(runtime)
	if err := os.Setenv("XDG_RUNTIME_DIR", runtime); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if path := os.Getenv(Variable); path != "" {
		if err := check(path, Race); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", Variable, err)
			return 1
		}
		return use(path)
	}
	dir, err := os.MkdirTemp("", "holdmetrics-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "holdmetrics")
	if err := To(context.Background(), path, Race); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return use(path)
}

// To builds holdmetrics at a path, with the race detector or without.
func To(ctx context.Context, path string, race bool) error {
	return Program(ctx, command, path, race)
}

// Program builds a program of this module at a path, with the race detector or without.
func Program(ctx context.Context, pkg, path string, race bool) error {
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// check returns an error unless path is a holdmetrics that was built with the race
// detector, or without, as wanted.
func check(path string, race bool) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	if info.Path != command {
		return fmt.Errorf("%s is %s: build %s there", path, info.Path, command)
	}
	has := false
	for _, s := range info.Settings {
		has = has || s.Key == "-race" && s.Value == "true"
	}
	if has != race {
		return fmt.Errorf("%s has the race detector: %t, and these tests: %t: build it as they are", path, has, race)
	}
	return nil
}

// Environment is that of this process without the settings of holdmetrics, so
// that what the machine sets does not reach a process under test.
func Environment() []string {
	env := os.Environ()
	for _, name := range []string{
		"DATA_DIR", "GRPC_ADDRESS", "HTTP_HOST", "HTTP_PORT", "NATS_ADDRESS", "NATS_URL", "POLICY", "MAX_CLOCK_SKEW",
		"MAX_FUTURE_END", "GC_INTERVAL", "LOG_LEVEL", "MONGODB_URL", "MONGODB_URI", "MONGODB_DB", "DOTENV",
	} {
		env = append(env, name+"=")
	}
	return append(env, QuickEnd()...)
}

// QuickEnd returns what the environment of a process that looks for races needs to end
// without the pause of a second that it makes by default, while others of its goroutines
// might still meet a race. Commands and servers are started and ended by the hundred.
// What the environment of this process says of it already stays.
func QuickEnd() []string {
	if os.Getenv(raceOptions) != "" {
		return nil
	}
	return []string{raceOptions + "=atexit_sleep_ms=10"}
}

// raceOptions names the environment variable with the options of the race detector.
const raceOptions = "GORACE"
