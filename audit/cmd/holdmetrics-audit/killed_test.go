package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/audit/immutest"
	"holdmetrics/ingest/proof"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection/mongo/mongotest"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/build"
)

var (
	kills = flag.Int("kills", fewKills, "how often a process is killed in each test of kills")
	seed  = flag.Uint64("seed", 1, "decides the events, and which process is killed when; 0: the time")
)

const (
	// fewKills is for the tests that run with all others; make crash has many.
	fewKills = 8
	// patience is how long anything may take before a test gives up on it.
	patience = 3 * time.Minute
)

// TestKilled kills each process of a system again and again while events come in, and wants
// verify to say nothing at the end: the copy in immudb, the states, the checkpoints, the
// snapshots and the store follow from the log, whenever a process was killed.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a dozen processes")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	binary := product(t)
	for name, start := range map[string]func(*system){"serve": startServe, "cluster": startParts} {
		t.Run(name, func(t *testing.T) {
			p := newSystem(t, binary)
			start(p)
			p.disturb(*kills)
			p.verify()
		})
	}
}

// product returns the path of holdmetrics, which is built if it was not before.
func product(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(build.Variable); path != "" {
		return path
	}
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "holdmetrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	testwait.Allow(t, testwait.Longest)
	path := filepath.Join(t.TempDir(), "holdmetrics")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "./cmd/holdmetrics")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// system is holdmetrics with an immudb and a follower, all of them processes.
type system struct {
	t      *testing.T
	binary string
	dir    string
	env    []string
	rand   *mathrand.Rand
	parts  []*part

	grpc, http, nats, immudb string
	mongo                    []string // flags of verify; nil: serve has its own store
	state                    string

	client    holdpb.HoldMetricsClient
	batches   int
	witnessed int
	tx        uint64 // of immudb when the last one was witnessed
	killed    map[string]int
	kept      string // file of the first checkpoint
}

func newSystem(t *testing.T, binary string) *system {
	t.Helper()
	testwait.Allow(t, testwait.Longest)
	dir := t.TempDir()
	at := ports(t, 4)
	p := &system{
		t: t, binary: binary, dir: dir, rand: mathrand.New(mathrand.NewPCG(*seed, 20)), killed: map[string]int{},
		grpc: at[0], http: at[1], nats: at[2], immudb: at[3], state: filepath.Join(dir, "follow.state"),
	}
	// Servers and commands find one another in a directory of this system alone.
	p.env = append(build.Environment(), "XDG_RUNTIME_DIR="+dir, "IMMUDB_PASSWORD="+immutest.Password)
	secret, public, err := proof.GenerateKey(rand.Reader, "system")
	if err != nil {
		t.Fatal(err)
	}
	p.write("signing.key", secret)
	p.write("signing.pub", public)
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 300 * time.Millisecond},
		MinConnectTimeout: time.Second,
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.client = holdpb.NewHoldMetricsClient(conn)
	return p
}

func (p *system) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *system) path(name string) string { return filepath.Join(p.dir, name) }

// startServe is one process beside immudb and the follower.
func startServe(p *system) {
	p.startCopy()
	serve := p.start("serve", "", p.binary, "serve", "--data-dir", p.path("data"), "--grpc-address", p.grpc, "--http-address", p.http,
		"--nats-address", p.nats, "--signing-key", p.path("signing.key"), "--checkpoint-interval", "1s")
	serve.await()
	p.follow("--nats-creds", p.path("data/nats-users/operator.seed"))
}

// startParts is a process for each part.
func startParts(p *system) {
	program, err := mongotest.Program()
	if err != nil {
		p.t.Skipf("no database to kill: %v", err)
	}
	at := ports(p.t, 2)
	_, port, err := net.SplitHostPort(at[0])
	if err != nil {
		p.t.Fatal(err)
	}
	url := "mongodb://" + at[0] + "/"
	p.mongo = []string{"--mongodb-url", url, "--mongodb-db", "system"}
	p.startCopy()
	p.start("NATS", "nats", os.Args[0], p.path("nats"), p.nats).await()
	database := p.startIn(mongotest.Environment(program), "database", program, "--port", port, "--dbpath", p.t.TempDir())
	database.await()
	shared := []string{"--nats-url", "nats://" + p.nats}
	p.start("worker", "", p.binary, append(append([]string{"worker", "--metrics-address", at[1], "--worker-id", "w"}, shared...), p.mongo...)...)
	p.start("gateway", "", p.binary, append([]string{"gateway", "--grpc-address", p.grpc, "--http-address", p.http,
		"--signing-key", p.path("signing.key"), "--checkpoint-interval", "1s"}, shared...)...).await()
	p.follow()
}

func (p *system) startCopy() {
	p.start("immudb", "immudb", os.Args[0], p.path("immudb"), p.immudb).await()
}

func (p *system) follow(more ...string) {
	p.send() // so that there is a log
	p.start("follow", "audit", os.Args[0], append([]string{"follow", "--nats-url", "nats://" + p.nats, "--immudb-url", p.immudb, "--state", p.state, "--states", "20"}, more...)...).await()
}

// part is a process that is started again and again.
type part struct {
	p     *system
	name  string
	args  []string
	env   []string
	log   said
	cmd   *exec.Cmd
	ended chan error // gets what Wait said
}

// said is what a process printed, in all its lives.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	life int           // where this one begins
	up   chan struct{} // closed when it is up; nil: it was
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(b)
	if life := s.text.Bytes()[s.life:]; s.up != nil && (bytes.Contains(life, []byte(up)) || bytes.Contains(life, []byte("Waiting for connections"))) {
		close(s.up)
		s.up = nil
	}
	return n, err
}

func (s *said) begin() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	up := make(chan struct{})
	s.life, s.up = s.text.Len(), up
	return up
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start starts a process that the test ends, which plays a role; empty: none.
func (p *system) start(name, role, program string, args ...string) *part {
	return p.startIn(append(slices.Clone(p.env), roleVariable+"="+role), name, program, args...)
}

func (p *system) startIn(env []string, name, program string, args ...string) *part {
	p.t.Helper()
	a := &part{p: p, name: name, args: append([]string{program}, args...), env: env}
	a.begin()
	p.parts = append(p.parts, a)
	p.t.Cleanup(func() {
		a.kill()
		text := a.log.String()
		for _, bad := range []string{"DATA RACE", "panic:", "partition failed"} {
			if strings.Contains(text, bad) {
				p.t.Errorf("%s said %q", name, bad)
			}
		}
		if p.t.Failed() {
			p.t.Logf("what %s said at last:\n%s", name, text[max(0, len(text)-20_000):])
		}
	})
	return a
}

func (a *part) begin() {
	a.p.t.Helper()
	cmd := exec.Command(a.args[0], a.args[1:]...)
	a.log.begin()
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = a.env, &a.log, &a.log, endWithParent()
	if err := cmd.Start(); err != nil {
		a.p.t.Fatalf("starting %s: %v", a.name, err)
	}
	a.cmd, a.ended = cmd, make(chan error, 1)
	ended := a.ended
	go func() { ended <- cmd.Wait() }() // ends with the process, which the test always ends
}

// kill ends the process as a power cut does.
func (a *part) kill() {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	<-a.ended
	a.cmd = nil
}

// stop asks the process to end.
func (a *part) stop() {
	a.p.t.Helper()
	late := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
	defer late.Stop()
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil {
		a.p.t.Fatal(err)
	}
	if err := <-a.ended; err != nil {
		a.p.t.Errorf("%s was asked to stop, and ended with %v", a.name, err)
	}
	a.cmd = nil
}

// await waits until the process is up.
func (a *part) await() {
	a.p.t.Helper()
	a.log.mu.Lock()
	up := a.log.up
	a.log.mu.Unlock()
	if up == nil {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-up:
	case err := <-a.ended:
		a.ended <- err
		a.p.t.Fatalf("%s ended by itself: %v", a.name, err)
	case <-late.C:
		a.p.t.Fatalf("%s does not come up", a.name)
	}
}

// alive fails the test if a process has ended by itself.
func (p *system) alive() {
	p.t.Helper()
	for _, a := range p.parts {
		select {
		case err := <-a.ended:
			a.ended <- err
			p.t.Fatalf("%s ended by itself: %v", a.name, err)
		default:
		}
	}
}

// send sends a batch of events until it is acknowledged.
func (p *system) send() {
	p.t.Helper()
	p.batches++
	batch := make([]*holdpb.HoldMsg, 1+p.rand.IntN(20))
	for i := range batch {
		start := int64(1_700_000_000 + p.rand.IntN(1_000_000))
		m := &holdpb.HoldMsg{
			TokenId: fmt.Sprintf("token-%d", p.rand.IntN(3)), HolderId: fmt.Sprintf("holder %d", p.rand.IntN(30)),
			Start: &timestamppb.Timestamp{Seconds: start}, WeightExact: fmt.Sprint(p.rand.IntN(1000)),
		}
		if p.rand.IntN(3) > 0 {
			m.End = &timestamppb.Timestamp{Seconds: start + int64(p.rand.IntN(100_000))}
		}
		if p.rand.IntN(4) == 0 {
			m.HoldId, m.Revision = fmt.Sprintf("id-%d", p.rand.IntN(50)), p.rand.Uint64N(4)
		}
		batch[i] = m
	}
	deadline := time.Now().Add(patience)
	for err := p.try(batch); err != nil; err = p.try(batch) {
		if time.Now().After(deadline) {
			p.t.Fatalf("a batch is not acknowledged: %v", err)
		}
		p.alive()
	}
}

func (p *system) try(batch []*holdpb.HoldMsg) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	stream, err := p.client.BroadcastBatch(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if err := stream.Send(&holdpb.HoldBatch{Events: batch}); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	return stream.CloseSend()
}

// disturb kills processes, each after some more batches were acknowledged, and sometimes
// once more while it starts.
func (p *system) disturb(n int) {
	p.t.Helper()
	began := time.Now()
	p.keepCheckpoint()
	order := []*part{}
	for done := 0; done < n; {
		if len(order) == 0 {
			order = slices.Clone(p.parts)
			p.rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		a := order[0]
		order = order[1:]
		for range 1 + p.rand.IntN(8) {
			p.send()
		}
		times := 1
		if p.rand.IntN(4) == 0 {
			times = 2
		}
		for i := range min(times, n-done) {
			if i > 0 {
				// At any moment of a start, which says nothing that one could wait for.
				time.Sleep(time.Duration(p.rand.Int64N(int64(500 * time.Millisecond))))
			}
			a.kill()
			a.begin()
			done++
			p.killed[a.name]++
		}
		if done/10 > p.witnessed {
			p.witness()
		}
	}
	for range 10 {
		p.send()
	}
	for _, a := range p.parts {
		a.await()
	}
	p.alive()
	p.t.Logf("seed %d: %d kills in %s: %v; %d batches; %d checkpoints were witnessed, each when the copy had grown, at last to transaction %d",
		*seed, n, time.Since(began).Round(time.Second), p.killed, p.batches, p.witnessed, p.tx)
}

// keepCheckpoint keeps the first checkpoint.
func (p *system) keepCheckpoint() {
	p.t.Helper()
	p.kept = p.path("kept.note")
	testwait.Poll(p.t, "a checkpoint", func() error {
		text, err := p.get("/audit/checkpoint")
		if err == nil {
			err = os.WriteFile(p.kept, text, 0o600)
		}
		return err
	})
	p.command("audit", "witness", "--server", p.grpc, "--public-key", p.path("signing.pub"), "--state", p.path("witness.json"), "--first")
}

func (p *system) get(path string) ([]byte, error) {
	answer, err := http.Get("http://" + p.http + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Status, &text)
	}
	return text.Bytes(), nil
}

// witness demands that the checkpoint of now begins with the one that was seen last, and
// waits until the copy has grown since.
func (p *system) witness() {
	p.t.Helper()
	for _, a := range p.parts {
		a.await()
	}
	p.send() // the server answers
	p.command("audit", "witness", "--server", p.grpc, "--public-key", p.path("signing.pub"), "--state", p.path("witness.json"))
	p.witnessed++
	testwait.Poll(p.t, "the copy has grown", func() error {
		p.send() // the state file is written with what comes
		var state struct{ Tx uint64 }
		text, err := os.ReadFile(p.state)
		if err == nil {
			err = json.Unmarshal(text, &state)
		}
		if err == nil && state.Tx <= p.tx {
			err = fmt.Errorf("it is at transaction %d still", p.tx)
		}
		if err == nil {
			p.tx = state.Tx
		}
		return err
	})
}

// command runs a command of holdmetrics.
func (p *system) command(args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.binary, args...)
	cmd.Env = p.env
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("holdmetrics %s: %v\n%s", args, err, out)
	}
}

// audit runs a command of holdmetrics-audit with the state of the follower.
func (p *system) audit(args ...string) (string, error) {
	var out, errOut bytes.Buffer
	env := map[string]string{
		"NATS_URL": "nats://" + p.nats, "IMMUDB_URL": p.immudb, "IMMUDB_PASSWORD": immutest.Password, "AUDIT_STATE": p.state, "DATA_DIR": p.path("data"),
	}
	if code := run(p.t.Context(), args, func(name string) string { return env[name] }, &out, &errOut); code != 0 {
		return out.String() + errOut.String(), fmt.Errorf("it ended with %d", code)
	}
	return out.String(), nil
}

var summary = regexp.MustCompile(`^no difference: log \S+, positions 1 to (\d+); (\d+) messages with \d+ events as in immudb, which has positions 1 to (\d+); (\d+) states; .*: \d+ holders; checkpoint of \d+ positions\n$`)

// verify compares everything, while it runs and when it is stopped.
func (p *system) verify() {
	p.t.Helper()
	args := append([]string{"verify", "--checkpoint", p.kept, "--public-key", p.path("signing.pub")}, p.mongo...)
	var found []string
	testwait.Poll(p.t, "the copy has all of the log", func() error {
		out, err := p.audit(args...)
		if err != nil {
			p.t.Fatalf("%v\n%s", err, out) // whatever it was, it is not nothing
		}
		if found = summary.FindStringSubmatch(out); found == nil || found[1] != found[2] || found[1] != found[3] || found[4] == "0" {
			return fmt.Errorf("%s", out)
		}
		p.t.Log(out)
		return nil
	})
	export := p.path("log.ndjson")
	p.command("log", "export", export, "--nats-url", "nats://"+p.nats)
	for _, a := range p.parts {
		if a.name == "serve" || a.name == "follow" {
			a.stop()
		}
	}
	if p.mongo == nil {
		args = append(args, "--data-dir", p.path("data"))
	}
	out, err := p.audit(append(args, "--export", export)...)
	if err != nil {
		p.t.Fatalf("an export: %v\n%s", err, out)
	}
	p.t.Log(out)
}

// ports gives addresses that a process can have again after it was killed. They lie below
// those that the system hands out.
func ports(t *testing.T, n int) []string {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	var found []string
	for ; len(found) < n; nextPort++ {
		address := fmt.Sprintf("127.0.0.1:%d", nextPort)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			found = append(found, address)
		}
	}
	return found
}

var (
	portsMu  sync.Mutex
	nextPort = 10_000 + os.Getpid()*53%20_000
)
