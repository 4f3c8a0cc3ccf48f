package docs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"holdmetrics/ingest"
	"holdmetrics/projection/mongo/mongotest"
	"holdmetrics/test/build"
)

// background are the commands that go on until they are stopped.
var background = map[string]bool{"serve": true, "gateway": true, "worker": true}

// world is what a session runs in.
type world struct {
	dir, bin         string
	grpc, http, nats string // of the servers of the session; empty: none was started
	broker           *server.Server
	database         *mongotest.Server
	mongo            string // name of the database
	skipped          bool
	running          []*process
}

type process struct {
	cmd *exec.Cmd
	log *os.File
}

// addresses replaces the documented addresses by those of the session.
func (w *world) addresses() *strings.Replacer {
	var pairs []string
	for _, host := range []string{"localhost", "127.0.0.1"} {
		for port, address := range map[string]string{"60051": w.grpc, "8000": w.http, "4222": strings.TrimPrefix(w.nats, "nats://")} {
			if address != "" {
				pairs = append(pairs, host+":"+port, address)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// documented replaces the addresses of the session by the documented ones.
func (w *world) documented() *strings.Replacer {
	var pairs []string
	for port, address := range map[string]string{"60051": w.grpc, "8000": w.http, "4222": strings.TrimPrefix(w.nats, "nats://")} {
		if address != "" {
			pairs = append(pairs, address, "127.0.0.1:"+port)
		}
	}
	if w.database != nil {
		pairs = append(pairs, strings.TrimPrefix(w.database.URL, "mongodb://"), "127.0.0.1:27017")
	}
	return strings.NewReplacer(pairs...)
}

// start runs serve, gateway or worker, and returns what it printed up to the line
// after which it is ready. A second serve takes the place of the first.
func (w *world) start(ts *testscript.TestScript, args []string) (string, error) {
	if args[0] == "serve" && len(w.running) > 0 {
		if err := w.stop(); err != nil {
			return "", err
		}
	}
	switch args[0] {
	case "serve":
		args = append(args, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0")
	case "gateway":
		args = append(args, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
	case "worker":
		args = append(args, "--metrics-address", "127.0.0.1:0")
	}
	log, err := os.CreateTemp(w.bin, "*.log")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stderr = w.dir, log
	cmd.Env = build.Environment()
	if args[0] != "serve" {
		cmd.Env = append(cmd.Env, "NATS_URL="+w.nats, "MONGODB_DB="+w.mongo)
		if w.database != nil {
			cmd.Env = append(cmd.Env, "MONGODB_URL="+w.database.URL)
		}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	w.running = append(w.running, &process{cmd: cmd, log: log})
	// A server that does not come up fails the test instead of hanging it.
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		fmt.Fprintln(&printed, line)
		if fields := strings.Fields(line); len(fields) > 1 && args[0] != "worker" {
			switch fields[0] {
			case "gRPC":
				w.grpc = fields[1]
			case "HTTP":
				w.http = strings.TrimPrefix(fields[1], "http://")
			case "NATS":
				w.nats = fields[1]
			}
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			go func() { // what it prints at its end must find a reader
				for lines.Scan() {
				}
			}()
			return printed.String(), nil
		}
	}
	text, _ := os.ReadFile(log.Name())
	return "", fmt.Errorf("%s did not come up: %s%s", args[0], printed.String(), text)
}

// stop stops the last process that was started.
func (w *world) stop() error {
	if len(w.running) == 0 {
		return nil
	}
	last := w.running[len(w.running)-1]
	w.running = w.running[:len(w.running)-1]
	return last.end(syscall.SIGTERM)
}

func (p *process) end(signal syscall.Signal) error {
	defer p.log.Close()
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	late := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		text, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("a server ended with %w: %s", err, text)
	}
	return nil
}

func (w *world) startNATS(ts *testscript.TestScript) error {
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: ts.MkAbs("nats"), NoSigs: true, NoLog: true,
	})
	if err != nil {
		return err
	}
	broker.Start()
	if !broker.ReadyForConnections(time.Minute) {
		return fmt.Errorf("the NATS server is not ready after a minute")
	}
	w.broker, w.nats = broker, broker.ClientURL()
	return nil
}

// publish publishes as a raw producer does, and returns when the log has the event.
func (w *world) publish(subject, contentType, text string) error {
	conn, err := nats.Connect(w.nats)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := &nats.Msg{Subject: subject, Data: []byte(text), Header: nats.Header{ingest.ContentTypeHeader: {contentType}}}
	_, err = js.PublishMsg(ctx, m)
	return err
}

// startMongoDB starts a database. If there is no server to start, the rest of the
// session is left out.
func (w *world) startMongoDB(ts *testscript.TestScript) error {
	database, err := mongotest.New()
	if errors.Is(err, mongotest.ErrNone) {
		w.skipped = true
		ts.Logf("the rest of this session is not run: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	w.database, w.mongo = database, fmt.Sprintf("holdmetrics_docs_%d", os.Getpid())
	return nil
}

// close ends what the session has started.
func (w *world) close() {
	for i := len(w.running) - 1; i >= 0; i-- {
		_ = w.running[i].end(syscall.SIGKILL) // which is no clean end
	}
	w.running = nil
	if w.broker != nil {
		w.broker.Shutdown()
		w.broker.WaitForShutdown()
		w.broker = nil
	}
	if w.database != nil {
		if !w.database.Ours() {
			_ = w.database.Drop(w.mongo)
		}
		_ = w.database.Close()
		w.database = nil
	}
}
