package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/build"
)

// program is a running holdmetrics.
type program struct {
	name   string // its subcommand
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	began  time.Time
	done   chan error
}

// startProgram starts the real program with these arguments, and with more in its
// environment, and returns when it is up. Until then it calls said for each
// line of two words or more, which names an endpoint and its address.
func (b *bench) startProgram(ctx context.Context, args, env []string, said func(p *program, what, where string)) (*program, error) {
	binary, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	p := &program{name: args[0], stderr: new(bytes.Buffer), done: make(chan error, 1)}
	p.cmd = exec.Command(binary, args...)
	// What the machine sets is kept away from it.
	p.cmd.Env = append(append(build.Environment(), "PPROF_ADDRESS=", "HOLDMETRICS_CONFIG="), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = child.OwnGroup()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	up := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "Ctrl-C") {
				close(up)
			} else if f := strings.Fields(lines.Text()); len(f) >= 2 {
				said(p, f[0], f[1])
			}
		}
		err := p.cmd.Wait()
		b.ended(p.cmd.ProcessState)
		p.done <- err
	}()
	select {
	case <-up:
		return p, nil
	case err := <-p.done:
		return nil, fmt.Errorf("%s did not come up: %w: %s", p.name, err, p.stderr)
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), p.stop())
	}
}

// stop asks the program to stop and waits for it.
func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(child.StopGrace, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := <-p.done; err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, err, p.stderr)
	}
	return nil
}
