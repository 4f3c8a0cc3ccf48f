package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdmetrics/test/build"
)

// dayStart is how long a server may take to come up, or to end, on a busy machine. One
// whose start fails waits two minutes at most for what it has started.
const dayStart = 4 * time.Minute

// daySubject is the server of a bad day. Unlike process it may end by itself, which the
// day judges.
type daySubject struct {
	program          string
	args, env        []string
	grpc, http, nats string

	log   output
	cmd   *exec.Cmd // nil: it does not run
	up    <-chan struct{}
	ended chan error
	life  int // where the log of this life begins
}

func newDaySubject(t *testing.T, data string) *daySubject {
	at := ports(t, 3)
	return &daySubject{
		program: binary, grpc: at[0], http: at[1], nats: at[2], env: build.Environment(),
		args: []string{"serve", "--data-dir", data, "--grpc-address", at[0], "--http-address", at[1], "--nats-address", at[2]},
	}
}

// errEnded is the error of a server that ended by itself.
var errEnded = errors.New("the server ended by itself")

// launch starts the server, and returns at once.
func (s *daySubject) launch() error {
	s.life = len(s.log.String())
	s.up = s.log.begin()
	cmd := exec.Command(s.program, s.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &s.log, &s.log
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan error, 1)
	ended := s.ended
	go func() { ended <- cmd.Wait() }() // ends with the process, which the day always ends
	return nil
}

// awaitUp returns when the server serves. It wraps errEnded if the server ended.
func (s *daySubject) awaitUp() error {
	late := time.NewTimer(dayStart)
	defer late.Stop()
	select {
	case <-s.up:
		return nil
	case err := <-s.ended:
		s.ended <- err
		return fmt.Errorf("%w: %v: %s", errEnded, err, s.last())
	case <-late.C:
		return errors.New("the server has not come up in 4 minutes")
	}
}

func (s *daySubject) start() error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.awaitUp()
}

// running reports whether the server runs.
func (s *daySubject) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		return false
	default:
		return true
	}
}

// signal sends a signal to the server.
func (s *daySubject) signal(signal syscall.Signal) {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(signal)
	}
}

// stop sends a signal that ends the server, and waits until it has ended.
func (s *daySubject) stop(signal syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(dayStart)
	defer late.Stop()
	var err error
	select {
	case <-s.ended:
	case <-late.C:
		err = fmt.Errorf("the server runs 4 minutes after %v", signal)
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
	return err
}

func (s *daySubject) end() {
	if s != nil {
		_ = s.stop(syscall.SIGKILL)
	}
}

// said is what the server printed in this life.
func (s *daySubject) said() string { return s.log.String()[s.life:] }

// last is the end of what the server printed in this life.
func (s *daySubject) last() string {
	lines := strings.Split(strings.TrimSpace(s.said()), "\n")
	return lines[len(lines)-1]
}

// crashes are what a Go program prints when it ends in a way that nobody planned, and
// what the race detector prints.
var crashes = []string{"panic:", "fatal error:", "DATA RACE", "SIGSEGV", "SIGBUS"}

// crashed returns what the server printed that no server may print, or "".
func (s *daySubject) crashed() string {
	text := s.log.String()
	for _, sign := range crashes {
		if _, after, found := strings.Cut(text, sign); found {
			return sign + after[:min(len(after), 2000)]
		}
	}
	return ""
}
