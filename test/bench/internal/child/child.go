// Package child runs the bench again as child processes, each in a role, so that
// nothing measured shares a heap, a garbage collector or a scheduler with its load.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
)

// Role is what a child does. It answers once: when it is ready, or with its
// result. ctx ends when the parent wants it to end, or is gone.
type Role func(ctx context.Context, input json.RawMessage, answer func(any) error) error

// Main runs one of the roles in this process, which is a child, and returns the
// exit code.
func Main(name string, roles map[string]Role) int {
	// Ctrl-C reaches the whole group of processes; the parent stops its children.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if err := runRole(name, roles); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runRole(name string, roles map[string]Role) error {
	do, ok := roles[name]
	if !ok {
		return fmt.Errorf("there is no role %q", name)
	}
	if dir := os.Getenv(profileVariable); dir != "" {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", name, os.Getpid())))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no input: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return do(ctx, line, func(v any) error { return json.NewEncoder(os.Stdout).Encode(v) })
}

// Input reads a role's input.
func Input[T any](raw json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}
