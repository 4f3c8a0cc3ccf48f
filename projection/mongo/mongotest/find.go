// Package mongotest gives tests a MongoDB server: the one of MONGODB_URL where it
// is set, else one of their own, started from the program that MONGOD names, that
// is on the PATH as mongod, or that lies at ../shared/mongod/mongod beside the
// repository, on a free port with a directory of its own.
//
// The last of these is mongo-java-server, an independent server that speaks
// MongoDB's protocol, and not MongoDB: it takes indexes that are not unique and
// ignores them, is one node, and has no sessions. What it cannot show is to be
// tried on a real one: make test MONGODB_URL=…
package mongotest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNone: there is no server to test with. What wraps it says what was looked
// for; tests skip, and say it.
var ErrNone = errors.New("mongotest: no MongoDB server to test with")

// Program gives the server to start, for tests that do so themselves; it takes
// --port and --dbpath, as mongod does. The error wraps [ErrNone] if there is none.
func Program() (program string, err error) {
	switch program = os.Getenv("MONGOD"); program {
	case "":
	case "none":
		return "", fmt.Errorf("%w: MONGOD is none", ErrNone)
	default:
		return program, nil
	}
	if program, err = exec.LookPath("mongod"); err == nil {
		return program, nil
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	program = filepath.Join(root, "..", "shared", "mongod", "mongod")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("%w: MONGODB_URL and MONGOD are not set, no mongod is on the PATH, and there is no %s", ErrNone, program)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: %s needs a Java runtime, 17 or newer (Debian: default-jre-headless)", ErrNone, program)
	}
	return program, nil
}

// Name returns a name for a program of [Program]; results are reported under it.
func Name(program string) string {
	if standIn(program) {
		return "mongo-java-server, a stand-in that is not MongoDB"
	}
	return program
}

// Environment returns the environment to start a program of [Program] in. A server of
// tests lives for seconds: what Java's optimising compiler takes, it never gives back.
func Environment(program string) []string {
	env := os.Environ()
	if standIn(program) {
		env = append(env, "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1")
	}
	return env
}

// standIn reports whether a program is mongo-java-server.
func standIn(program string) bool {
	if resolved, err := filepath.EvalSymlinks(program); err == nil {
		program = resolved
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(program), "mongod.jar"))
	return err == nil
}

// repository is the directory of the product's go.mod, above the test's. Modules of their
// own lie below it.
func repository() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module holdmetrics\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%w: no go.mod of holdmetrics above the working directory", ErrNone)
		}
	}
	return "", err
}
