package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

func TestMain(m *testing.M) {
	testscript.Main(testwait.Watch(withDatabase{m}), map[string]func(){"holdmetrics": main})
}

// TestScripts runs the scripts of testdata/script. Beside the usual commands they have
//
//	serve [DIR [FLAG...]]   starts a server on free ports and waits until it serves;
//	                        $SERVER, $HTTP and $NATS are their addresses
//	accepted                keeps the position that record has just printed in $POSITION
//	publish SUBJECT FILE [TYPE]
//	                        publishes a file as it is to $NATS, as a raw producer
//	                        does, with the header Content-Type where TYPE is given
//	dead-letters N          waits until $NATS has N dead letters, which come behind
//	                        what is applied
//	halt                    sends it SIGTERM and waits for its end
//	strike                  ends it at once, as a power cut does
//	until REGEXP CMD...     runs a command until its output matches
//
// The usual commands stop, which ends the script, and kill stand in the way of other
// words for these two.
func TestScripts(t *testing.T) {
	t.Parallel()
	servers := &servers{running: map[*testscript.TestScript]*exec.Cmd{}}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// What the machine sets must not reach the settings of a test.
			for name := range settings.Environment {
				env.Setenv(name, "")
			}
			for _, name := range append([]string{"HTTP_HOST", "HTTP_PORT", settings.EnvConfig}, settings.Unused["serve"]...) {
				env.Setenv(name, "")
			}
			testdata, err := filepath.Abs("testdata")
			if err != nil {
				return err
			}
			env.Setenv("TESTDATA", testdata)
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
			for _, pair := range build.QuickEnd() {
				name, value, _ := strings.Cut(pair, "=")
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":        servers.serve,
			"halt":         servers.halt,
			"until":        until,
			"publish":      publishRaw,
			"dead-letters": awaitDeadLetters,
			"strike": func(ts *testscript.TestScript, _ bool, _ []string) {
				_ = servers.end(ts, syscall.SIGKILL) // which is no clean end
			},
			"accepted": func(ts *testscript.TestScript, _ bool, _ []string) {
				position, ok := strings.CutPrefix(ts.ReadFile("stdout"), "accepted at position ")
				if !ok {
					ts.Fatalf("record has printed no position")
				}
				ts.Setenv("POSITION", strings.TrimSpace(position))
			},
		},
	})
}

// A script that says stop passes there, whatever comes behind it.
func TestScriptsGoOnToTheirEnd(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		commands, _, _ := strings.Cut(string(text), "\n-- ")
		for i, line := range strings.Split(commands, "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "stop" {
				t.Errorf("%s:%d: stop ends the script there; to end a server say halt", name, i+1)
			}
		}
	}
}

// servers are the ones that scripts have started.
type servers struct {
	mu      sync.Mutex
	running map[*testscript.TestScript]*exec.Cmd
}

func (s *servers) serve(ts *testscript.TestScript, _ bool, args []string) {
	dir := "data"
	if len(args) > 0 {
		dir, args = args[0], args[1:]
	}
	free := []string{"serve", "--data-dir", dir, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"}
	binary, err := lookIn(ts.Getenv("PATH"), "holdmetrics")
	ts.Check(err)
	cmd := exec.Command(binary, append(free, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(append(os.Environ(), "LOG_LEVEL=", "POLICY=", "XDG_RUNTIME_DIR="+ts.Getenv("XDG_RUNTIME_DIR")), build.QuickEnd()...)
	log, err := os.OpenFile(ts.MkAbs("serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Setenv("SERVED", ts.MkAbs(dir))
	s.mu.Lock()
	s.running[ts] = cmd
	s.mu.Unlock()
	ts.Defer(func() { _ = s.end(ts, syscall.SIGKILL) })

	addresses := map[string]string{"gRPC": "SERVER", "HTTP": "HTTP", "NATS": "NATS"}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && addresses[fields[0]] != "" {
			ts.Setenv(addresses[fields[0]], fields[1])
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return
		}
	}
	text, _ := os.ReadFile(ts.MkAbs("serve.log"))
	ts.Fatalf("the server did not come up: %s", text)
}

// until waits for what a server does in its own time without an event.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP CMD...")
	}
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for began := time.Now(); ; testwait.Pause(began) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if wanted.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(began) > clusterPatience {
			ts.Fatalf("never: %s", args[0])
		}
	}
}

func (s *servers) halt(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(s.end(ts, syscall.SIGTERM))
}

// end ends the server of a script, if it has one.
func (s *servers) end(ts *testscript.TestScript, signal syscall.Signal) error {
	s.mu.Lock()
	cmd := s.running[ts]
	delete(s.running, ts)
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(signal); err != nil {
		return err
	}
	// A server that hangs fails the test instead of hanging it.
	late := time.AfterFunc(clusterPatience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		text, _ := os.ReadFile(filepath.Join(cmd.Dir, "serve.log"))
		return fmt.Errorf("the server ended with %w: %s", err, text)
	}
	return nil
}

func lookIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); exec.Command(full, "version").Run() == nil {
			return full, nil
		}
	}
	return "", errors.New(name + " is not in the script's PATH")
}

// publishRaw publishes a file, and waits until a stream has it.
func publishRaw(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: publish SUBJECT FILE [TYPE]")
	}
	m := &nats.Msg{Subject: args[0], Data: []byte(strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))}
	if len(args) > 2 {
		m.Header = nats.Header{ingest.ContentTypeHeader: {args[2]}}
	}
	js, done := natsOf(ts)
	defer done()
	ack, err := js.PublishMsg(context.Background(), m)
	ts.Check(err)
	ts.Setenv("POSITION", fmt.Sprint(ack.Sequence))
}

func natsOf(ts *testscript.TestScript) (jetstream.JetStream, func()) {
	conn, err := nats.Connect(ts.Getenv("NATS"), natstest.Operator(ts.Getenv("SERVED")))
	ts.Check(err)
	js, err := jetstream.New(conn)
	ts.Check(err)
	return js, conn.Close
}

func awaitDeadLetters(ts *testscript.TestScript, _ bool, args []string) {
	js, done := natsOf(ts)
	defer done()
	log, err := ingest.FindLog(context.Background(), js)
	ts.Check(err)
	for began := time.Now(); ; {
		n, err := log.DeadLetters().Count(context.Background())
		ts.Check(err)
		if fmt.Sprint(n) == args[0] {
			return
		}
		if time.Since(began) > clusterPatience {
			ts.Fatalf("%d dead letters, want %s", n, args[0])
		}
		testwait.Pause(began)
	}
}
