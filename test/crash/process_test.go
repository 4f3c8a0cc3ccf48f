package crash

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

// patience is how long anything may take before a test gives up on it.
const patience = 3 * time.Minute

// banner is what a server of ours prints when it is up, and listens to signals.
const banner = "Ctrl-C stops it."

// ready reports whether this life's output says that the process is up.
func ready(text []byte) bool {
	return bytes.Contains(text, []byte(banner)) || bytes.Contains(text, []byte("Waiting for connections"))
}

// kind is what the process is, whichever of its kind.
func (p *process) kind() string {
	kind, _, _ := strings.Cut(p.name, " ")
	return kind
}

// process is one that is started again and again, always with the same arguments.
type process struct {
	t    *testing.T
	name string
	args []string
	env  []string
	log  output

	cmd   *exec.Cmd
	ended chan error // gets what Wait said
	up    <-chan struct{}
	held  bool
}

// output is what a process printed, over all its lives.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	life int           // where this life's begins
	up   chan struct{} // closed when the banner was printed in this life; nil: it was
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.text.Write(b)
	if o.up != nil && ready(o.text.Bytes()[o.life:]) {
		close(o.up)
		o.up = nil
	}
	return n, err
}

// begin begins a life, and gives what is closed when the process is up.
func (o *output) begin() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.life, o.up = o.text.Len(), make(chan struct{})
	return o.up
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run starts a process that the test ends.
func run(t *testing.T, name string, args ...string) *process {
	return runIn(t, build.Environment(), name, args...)
}

// runIn is run with an environment.
func runIn(t *testing.T, env []string, name string, args ...string) *process {
	// Every wait of these tests ends by itself, and says what it waited for.
	testwait.Allow(t, testwait.Longest)
	p := &process{t: t, name: name, args: args, env: env}
	p.start()
	t.Cleanup(func() {
		if t.Failed() && args[0] == binary {
			_ = p.end(syscall.SIGQUIT) // it says what each of its goroutines does
		}
		_ = p.end(syscall.SIGKILL)
		text := p.log.String()
		if strings.Contains(text, "DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
		if strings.Contains(text, "panic:") {
			t.Errorf("%s panicked", name)
		}
		// Nothing that is done to a process is a reason to give a partition up for good.
		if strings.Contains(text, "partition failed") {
			t.Errorf("a partition of %s failed", name)
		}
		if t.Failed() {
			t.Logf("what %s said:\n%s", name, abridged(text, 20_000))
		}
	})
	return p
}

// abridged returns the beginning and the end of a text.
func abridged(s string, each int) string {
	if len(s) > 2*each {
		return s[:each] + "\n[…]\n" + s[len(s)-each:]
	}
	return s
}

func (p *process) start() {
	p.t.Helper()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	p.up = p.log.begin()
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &p.log, &p.log
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	p.cmd, p.ended, p.held = cmd, make(chan error, 1), false
	ended := p.ended
	go func() { ended <- cmd.Wait() }() // ends with the process, which the test always ends
}

// end ends the process by a signal and waits for it. What is held goes on before.
func (p *process) end(signal syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if p.held && signal != syscall.SIGKILL {
		p.release()
	}
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	err := <-p.ended
	p.cmd = nil
	return err
}

// kill ends the process as a power cut does, and starts it again.
func (p *process) kill() {
	p.end(syscall.SIGKILL)
	p.start()
}

// restart asks the process to stop, which it must do cleanly once it is up, and
// starts it again.
func (p *process) restart() {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.up:
	case err := <-p.ended:
		p.ended <- err
		p.t.Fatalf("%s ended by itself: %v", p.name, err)
	case <-late.C:
		p.t.Fatalf("%s does not come up", p.name)
	}
	said := len(p.log.String())
	// A worker whose store or log was disturbed just before says that it could not
	// flush everything in time; the next start applies it again.
	if err := p.end(syscall.SIGTERM); err != nil && p.args[0] == binary &&
		!strings.Contains(p.log.String()[said:], "stopped before everything was flushed") {
		p.t.Errorf("%s was asked to stop and ended with %v", p.name, err)
	}
	p.start()
}

// hold keeps the process from running until release.
func (p *process) hold() {
	p.held = true
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
}

func (p *process) release() {
	p.held = false
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
}

// alive fails the test where the process has ended by itself.
func (p *process) alive() {
	select {
	case err := <-p.ended:
		p.ended <- err
		p.t.Fatalf("%s ended by itself: %v", p.name, err)
	default:
	}
}

// ports gives addresses that a process can have again after it was killed. They
// lie below those that the system hands out, so that no other test gets one in
// between; a test that runs beside this one takes others.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var found []string
	for port := 10_000 + os.Getpid()*37%20_000; len(found) < n; port++ {
		portsMu.Lock()
		taken := portsGiven[port]
		portsGiven[port] = true
		portsMu.Unlock()
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if taken {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		found = append(found, address)
	}
	return found
}

var (
	portsMu    sync.Mutex
	portsGiven = map[int]bool{}
)
