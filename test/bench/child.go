package main

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

// role is what a child does. It answers once: when it is ready, or with its
// result. ctx ends when the parent wants it to end, or is gone.
type role func(ctx context.Context, input json.RawMessage, answer func(any) error) error

func roles() map[string]role {
	return map[string]role{
		"server":    serverRole,
		"echo":      echoRole,
		"produce":   produceRole,
		"publish":   publishRole,
		"fill":      fillRole,
		"batch":     batchRole,
		"broadcast": broadcastRole,
		"record":    recordRole,
		"holds":     holdsRole,
		"score":     scoreRole,
		"apply":     applyRole,
		"replay":    replayRole,
		"read":      readRole,
		"sustained": sustainedRole,
		"freshness": freshnessRole,
		"watch":     watchRole,
		"fanout":    fanoutRole,
		"rank":      rankRole,
		"memory":    memoryRole,
		"pair":      pairRole,
	}
}

// childMain runs a role and gives the exit code.
func childMain(name string) int {
	// Ctrl-C reaches the whole group of processes; the parent tells us what to do.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if err := runRole(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runRole(name string) error {
	do, ok := roles()[name]
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

// input reads a role's input.
func input[T any](raw json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}
