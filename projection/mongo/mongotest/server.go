package mongotest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// startTimeout is how long a server may take to start on a busy machine.
const startTimeout = 2 * time.Minute

// Server is a server that is tested with. It is not safe for concurrent use.
type Server struct {
	// URL is where it is reached, also after a Kill and a Start.
	URL string
	// Name identifies the server; results are reported under it.
	Name string

	program, dir string // program empty: it is not ours
	port         int
	process      *exec.Cmd
	done         chan error
}

// New finds a server and starts it where it is not running yet. Its error wraps
// [ErrNone] if there is none. The caller must Close the server.
func New() (*Server, error) {
	if url := os.Getenv("MONGODB_URL"); url != "" {
		return &Server{URL: url, Name: "the server of MONGODB_URL"}, nil
	}
	return Own()
}

// Own starts a server that the caller may kill; otherwise it is as New.
func Own() (*Server, error) {
	program, err := Program()
	if err != nil {
		return nil, err
	}
	s := &Server{program: program, Name: Name(program)}
	if s.dir, err = os.MkdirTemp("", "mongotest-"); err != nil {
		return nil, err
	}
	// Another process may take the port before the server does.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("mongotest: start %s: %w", program, err), os.RemoveAll(s.dir))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Ours reports whether the server may be killed and started.
func (s *Server) Ours() bool { return s.program != "" }

// Start starts a server that was killed or stopped, with the data that it had, and
// returns when it takes connections.
func (s *Server) Start() error {
	s.URL = "mongodb://127.0.0.1:" + strconv.Itoa(s.port)
	cmd := exec.Command(s.program, "--port", strconv.Itoa(s.port), "--bind_ip", "127.0.0.1", "--dbpath", s.dir)
	cmd.Env, cmd.SysProcAttr = Environment(s.program), endWithParent()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process, s.done = cmd, make(chan error, 1)
	ready := make(chan bool, 1)
	var said lastLines
	go func() {
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			said.add(line)
			if strings.Contains(strings.ToLower(line), "waiting for connections") {
				ready <- true
			}
			if err != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		s.done <- cmd.Wait()
	}()
	select {
	case <-ready:
		return nil
	case err := <-s.done:
		s.process = nil
		return fmt.Errorf("it ended: %w: %s", err, said.text())
	case <-time.After(startTimeout):
		s.Kill()
		return fmt.Errorf("it did not take connections within %v: %s", startTimeout, said.text())
	}
}

// Kill ends the server with SIGKILL, as a crash would, and waits for its end.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server with SIGTERM and waits for its end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Pause stops the server in its tracks, until Continue.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Continue lets it go on.
func (s *Server) Continue() error { return s.process.Process.Signal(syscall.SIGCONT) }

func (s *Server) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(signal)
	select {
	case <-s.done:
	case <-time.After(startTimeout):
		_ = s.process.Process.Kill()
		<-s.done
	}
	s.process = nil
}

// Drop takes a database away; tests that end a server of their own need not.
func (s *Server) Drop(database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(s.URL))
	if err != nil {
		return err
	}
	return errors.Join(client.Database(database).Drop(ctx), client.Disconnect(ctx))
}

// Close ends the server and takes its data away.
func (s *Server) Close() error {
	if !s.Ours() {
		return nil
	}
	s.Stop()
	return os.RemoveAll(s.dir)
}

// lastLines keeps the last lines that a server said.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if len(l.lines) > 20 {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(strings.Join(l.lines, ""))
}
