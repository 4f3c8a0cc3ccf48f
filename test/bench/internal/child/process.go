package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Command is the hidden subcommand that makes this program a child.
const Command = "child"

// profileVariable tells a child where its CPU profile goes.
const profileVariable = "HOLDMETRICS_BENCH_PROFILE"

// StopGrace is how long a child may take to end after it was asked to.
const StopGrace = 20 * time.Second

// Process is a child that runs until it is stopped.
type Process struct {
	Cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	out    *json.Decoder
	done   chan error // gets the end of the process
}

// Start starts this program in a role, gives it its input as JSON, and
// returns when it has answered with its first value, which goes to ready. The child
// writes a CPU profile to the directory profile unless that is empty, and has as many
// cores as the machine if cores is 0. ended is called when it has ended.
//
//	parent                         child
//	  input (one JSON value) ──▶
//	                         ◀──   ready or result (one JSON value)
//	  end of input           ──▶   stops, and exits
func Start(ctx context.Context, profile, role string, cores int, input, ready any, ended func(*os.ProcessState)) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, Command, role)
	cmd.Env = os.Environ()
	if profile != "" {
		cmd.Env = append(cmd.Env, profileVariable+"="+profile)
	}
	if cores > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", cores))
	}
	p := &Process{Cmd: cmd, stderr: new(bytes.Buffer), done: make(chan error, 1)}
	cmd.Stderr = p.stderr
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// Wait closes the pipe, so it may begin only when everything was read.
	answered := make(chan error, 1)
	go func() {
		err := json.NewEncoder(p.stdin).Encode(input)
		if err == nil {
			err = p.out.Decode(ready)
		}
		answered <- err
		_, _ = io.Copy(io.Discard, out)
		end := cmd.Wait()
		ended(cmd.ProcessState)
		p.done <- end
	}()
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("child %s: %w", role, errors.Join(err, p.Stop()))
	}
	return p, nil
}

// Stop asks the child to end and waits for it. After stopGrace it is killed.
func (p *Process) Stop() error {
	_ = p.stdin.Close()
	late := time.AfterFunc(StopGrace, func() { _ = p.Cmd.Process.Kill() })
	defer late.Stop()
	if err := <-p.done; err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}

// StopAll stops processes, the last first, and joins their errors with err.
func StopAll(err *error, processes ...*Process) {
	for i := len(processes) - 1; i >= 0; i-- {
		if p := processes[i]; p != nil {
			*err = errors.Join(*err, p.Stop())
		}
	}
}
