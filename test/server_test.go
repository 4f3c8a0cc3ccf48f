package test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

// patience is how long anything may take before a test gives up on it: far more than it
// takes on a busy machine, and less than the watchdog allows, so that the test names what
// it waited for.
const patience = 3 * time.Minute

// server is a running 'holdmetrics serve'.
type server struct {
	t                *testing.T
	dir              string
	grpc, http, nats string
	cmd              *exec.Cmd
	out              io.Reader // where it says that it serves
	log              *journal
	ended            bool
}

// journal is the log of a server, which goes on writing while a test reads it.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// start runs a server on a data directory and waits until it serves.
func start(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	return startBy(t, dir, []string{binary}, flags...)
}

// startBy is start by a command that runs the server with the arguments behind its own.
func startBy(t *testing.T, dir string, command []string, flags ...string) *server {
	t.Helper()
	s := launchBy(t, dir, command, flags...)
	s.serving()
	return s
}

// launchBy starts a server, and does not wait until it serves.
func launchBy(t *testing.T, dir string, command []string, flags ...string) *server {
	t.Helper()
	testwait.Allow(t, 2*patience)
	s := &server{t: t, dir: dir, log: new(journal)}
	args := append(command[1:len(command):len(command)], "serve", "--data-dir", dir, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0")
	s.cmd = exec.Command(command[0], append(args, flags...)...)
	s.cmd.Env = append(build.Environment(), "GORACE=atexit_sleep_ms=10 exitcode=0") // races are looked for in its log
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.ended {
			s.kill()
		}
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Error("the server has a data race")
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log)
		}
	})
	s.out = out
	return s
}

// serving returns when the server says that it serves, and where.
func (s *server) serving() {
	s.t.Helper()
	for lines := bufio.NewScanner(s.out); lines.Scan(); {
		switch fields := strings.Fields(lines.Text()); {
		case len(fields) == 2 && fields[0] == "gRPC":
			s.grpc = fields[1]
		case len(fields) == 2 && fields[0] == "HTTP":
			s.http = fields[1]
		case len(fields) == 2 && fields[0] == "NATS":
			s.nats = fields[1]
		case strings.HasPrefix(lines.Text(), "Ctrl-C"):
			return
		}
	}
	s.ended = true
	s.t.Fatalf("the server did not come up: %v\n%s", s.cmd.Wait(), s.log)
}

// stop asks the server to stop, as Ctrl-C does, and wants it to do so cleanly.
func (s *server) stop() {
	s.t.Helper()
	if err := s.end(syscall.SIGTERM); err != nil {
		s.t.Fatalf("the server stopped with %v\n%s", err, s.log)
	}
}

// kill ends the server at once, as a power cut does.
func (s *server) kill() { _ = s.end(syscall.SIGKILL) }

func (s *server) end(signal syscall.Signal) error {
	s.ended = true
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	return s.cmd.Wait()
}

// dial connects to the gRPC server.
func (s *server) dial() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// natsConn connects to the NATS server as its operator.
func (s *server) natsConn() (*nats.Conn, jetstream.JetStream) {
	s.t.Helper()
	conn, err := nats.Connect(s.nats, natstest.Operator(s.dir))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn, js
}

// run runs a holdmetrics command and gives what it printed; it fails the test
// where the command fails.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, errText, err := try(t, args...)
	if err != nil {
		t.Fatalf("holdmetrics %s: %v\n%s", strings.Join(args, " "), err, errText)
	}
	return out
}

// try runs a command that may fail.
func try(t *testing.T, args ...string) (out, errText string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), build.QuickEnd()...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// stats are the scores that the server gives, by token, as of a time.
func (s *server) stats(asOf string) string {
	s.t.Helper()
	return run(s.t, "stats", "--server", s.grpc, "--by-token", "--as-of", asOf, "--format", "csv")
}
