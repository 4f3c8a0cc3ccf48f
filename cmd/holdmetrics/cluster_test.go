package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection/mongo/mongotest"
	holdpb "holdmetrics/proto"
)

// clusterPatience is how long a test waits for what must come: far more than it takes on
// a busy machine, and less than [patiently] allows, so that the test names what it
// waited for.
const clusterPatience = 3 * time.Minute

// patiently has the watchdog leave a test alone for longer than its waits may take.
func patiently(t *testing.T) {
	t.Helper()
	testwait.Allow(t, 2*clusterPatience)
}

// database is the MongoDB server that the tests share, each with a database of its
// own. It is started by the first test that needs it.
var database = sync.OnceValues(mongotest.New)

// databaseUsed tells TestMain that there is a server to end.
var databaseUsed atomic.Bool

// startDatabase returns the shared MongoDB server, and skips the test if there is none.
func startDatabase(t *testing.T) *mongotest.Server {
	t.Helper()
	databaseUsed.Store(true)
	s, err := database()
	if errors.Is(err, mongotest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log("over", s.Name)
	return s
}

// withDatabase ends the shared MongoDB server after the tests.
type withDatabase struct{ tests testwait.Runner }

func (w withDatabase) Run() int {
	code := w.tests.Run()
	if !databaseUsed.Load() {
		return code
	}
	if s, err := database(); err == nil {
		if err := s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
	}
	return code
}

// startNATS runs a NATS server for other processes, and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	patiently(t)
	return natstest.Start(t, natstest.Listening).ClientURL()
}

// command is a command that runs.
type command struct {
	stop  context.CancelFunc
	ended chan int
	lines chan string // of its standard output; closed with it
	err   *lockedBuffer
}

func start(t *testing.T, args ...string) *command {
	t.Helper()
	return startIn(t, nil, args...)
}

// startIn starts a command with an environment.
func startIn(t *testing.T, environment map[string]string, args ...string) *command {
	t.Helper()
	patiently(t)
	ctx, stop := context.WithCancel(context.Background())
	in, out := io.Pipe()
	c := &command{stop: stop, ended: make(chan int, 1), lines: make(chan string, 100), err: &lockedBuffer{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ended <- run(ctx, args, streams{in: strings.NewReader(""), out: out, err: c.err, getenv: func(name string) string { return environment[name] }})
		out.Close()
	}()
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		for range c.lines {
		}
		if t.Failed() {
			t.Logf("%v: %s", args, c.err)
		}
	})
	return c
}

// address waits for the line of an address.
func (c *command) address(t *testing.T, name string) string {
	t.Helper()
	over := time.After(clusterPatience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("it ended: %s", c.err)
			}
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
				return strings.TrimPrefix(fields[1], "http://")
			}
		case <-over:
			t.Fatalf("never said %s: %s", name, c.err)
		}
	}
}

func (c *command) finish(t *testing.T) {
	t.Helper()
	c.stop()
	select {
	case code := <-c.ended:
		if code != exitOK {
			t.Fatalf("exit %d: %s", code, c.err)
		}
	case <-time.After(clusterPatience):
		t.Fatal("it does not end")
	}
}

// eventually tries until it succeeds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(began) > clusterPatience {
			t.Fatalf("%s: %v", what, err)
		}
		testwait.Pause(began) // other processes tell of nothing
	}
}

func dialGateway(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := connect.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// shares says who owns how many partitions, as a gateway tells.
func shares(t *testing.T, conn *grpc.ClientConn, want map[string]int) {
	t.Helper()
	eventually(t, fmt.Sprintf("shares %v", want), func() error {
		answer, err := holdpb.NewHoldMetricsQueryClient(conn).Status(t.Context(), &holdpb.Empty{})
		if err != nil {
			return err
		}
		have, moving := map[string]int{}, 0
		for _, p := range answer.GetPartitions() {
			have[p.GetOwner()]++
			if p.GetMoving() && p.GetState() == "running" {
				moving++
			}
		}
		if fmt.Sprint(have) != fmt.Sprint(want) || moving != len(answer.GetPartitions()) || len(answer.GetWorkers()) != len(want) {
			return fmt.Errorf("%v, %d move, of %d workers", have, moving, len(answer.GetWorkers()))
		}
		return nil
	})
}

func record(t *testing.T, conn *grpc.ClientConn, holder string, from, to int64) {
	t.Helper()
	if err := tryRecord(t.Context(), conn, holder, from, to); err != nil {
		t.Fatal(err)
	}
}

func tryRecord(ctx context.Context, conn *grpc.ClientConn, holder string, from, to int64) error {
	ack, err := holdpb.NewHoldMetricsClient(conn).Record(ctx, &holdpb.HoldMsg{
		TokenId: "t", HolderId: holder, Start: &timestamppb.Timestamp{Seconds: from}, End: &timestamppb.Timestamp{Seconds: to},
	})
	if err == nil && !ack.GetOk() {
		err = errors.New(ack.String())
	}
	return err
}

// snapshots waits until a gateway has these settled seconds of every holder.
func snapshots(t *testing.T, conn *grpc.ClientConn, want map[string]int64) {
	t.Helper()
	eventually(t, "snapshots", func() error {
		stream, err := holdpb.NewHoldMetricsClient(conn).Stats(t.Context(), &holdpb.StatsRequest{})
		if err != nil {
			return err
		}
		have := map[string]int64{}
		for {
			s, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			have[s.GetHolderId()] = s.GetTotalSeconds()
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			return fmt.Errorf("%d holders, want %d", len(have), len(want))
		}
		return nil
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// Two gateways, and workers that come and go, with no database: snapshots are
// whole, and what only a store can tell is refused with the reason.
func TestGatewaysAndWorkers(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	gatewayArgs := []string{"gateway", "--nats-url", nats, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--partitions", "4"}
	first, second := start(t, gatewayArgs...), start(t, gatewayArgs...)
	one := dialGateway(t, first.address(t, "gRPC"))
	web := first.address(t, "HTTP")
	two := dialGateway(t, second.address(t, "gRPC"))
	newWorker := func(id string) *command {
		return start(t, "worker", "--nats-url", nats, "--store", "embedded", "--data-dir", t.TempDir(), "--worker-id", id,
			"--metrics-address", "127.0.0.1:0", "--lease", "60s", "--partitions", "4")
	}
	a := newWorker("a")
	own := a.address(t, "HTTP")
	shares(t, one, map[string]int{"a": 4})
	want := map[string]int64{}
	for i := range 40 {
		holder := fmt.Sprintf("h%d", i)
		record(t, []*grpc.ClientConn{one, two}[i%2], holder, 1000, 1000+int64(i))
		want[holder] = int64(i)
	}
	snapshots(t, one, want)
	snapshots(t, two, want)

	b := newWorker("b")
	shares(t, two, map[string]int{"a": 2, "b": 2})
	record(t, two, "h1", 5000, 5100)
	want["h1"] += 100
	snapshots(t, one, want)
	if code, text := get(t, "http://"+own+"/readyz"); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	if code, text := get(t, "http://"+own+"/metrics"); code != http.StatusOK || !strings.Contains(text, "holdmetrics_events_applied_total") {
		t.Errorf("%d %.200s", code, text)
	}
	if code, text := get(t, "http://"+own+"/status"); code != http.StatusOK || !strings.Contains(text, `"worker":"a"`) {
		t.Errorf("%d %s", code, text)
	}
	a.finish(t)
	shares(t, one, map[string]int{"b": 4})
	record(t, one, "h2", 5000, 5100)
	want["h2"] += 100
	snapshots(t, two, want)

	var body struct {
		Workers []struct {
			ID    string     `json:"id"`
			Heard *time.Time `json:"heard"`
		} `json:"workers"`
	}
	if _, text := get(t, "http://"+web+"/status"); json.Unmarshal([]byte(text), &body) != nil || len(body.Workers) != 1 || body.Workers[0].ID != "b" || body.Workers[0].Heard == nil {
		t.Errorf("%s", text)
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"status", "--server", one.Target()}, streams{out: &out, err: &out}); code != exitOK || !strings.Contains(out.String(), "running  yes") {
		t.Errorf("%d: %s", code, &out)
	}
	stream, err := holdpb.NewHoldMetricsQueryClient(one).Scores(t.Context(), &holdpb.ScoresRequest{HolderId: "h1"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "MONGODB_URL") {
		t.Errorf("a store that nobody can read: %v", err)
	}
	b.finish(t)
	first.finish(t)
	second.finish(t)
	for _, c := range []*command{first, second, a, b} {
		if strings.Contains(c.err.String(), "ERROR") {
			t.Errorf("%s", c.err)
		}
	}

	// A worker without a store says so.
	var said bytes.Buffer
	if code := run(t.Context(), []string{"worker", "--nats-url", nats}, streams{out: &said, err: &said}); code != exitUsage || !strings.Contains(said.String(), "MONGODB_URL") {
		t.Errorf("%d: %s", code, &said)
	}
}

// With a database, every gateway reads what the workers wrote, as soon as it is applied.
func TestGatewayReadsTheStore(t *testing.T) {
	t.Parallel()
	database := startDatabase(t)
	nats := startNATS(t)
	mongo := []string{"--nats-url", nats, "--mongodb-url", database.URL, "--mongodb-db", fmt.Sprintf("gateway_%d", time.Now().UnixNano()), "--partitions", "4"}
	g := start(t, append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"}, mongo...)...)
	conn := dialGateway(t, g.address(t, "gRPC"))
	worker := func(id string) *command {
		return start(t, append([]string{"worker", "--worker-id", id, "--metrics-address", "127.0.0.1:0", "--lease", "60s"}, mongo...)...)
	}
	a, b := worker("a"), worker("b")
	shares(t, conn, map[string]int{"a": 2, "b": 2})
	for i := range 20 {
		holder := fmt.Sprintf("h%d", i%5)
		at := 1000 * int64(i+1)
		record(t, conn, holder, at, at+10)
		stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(t.Context(), &holdpb.ScoresRequest{HolderId: holder, AsOf: &timestamppb.Timestamp{Seconds: at + 5}})
		if err != nil {
			t.Fatal(err)
		}
		row, err := stream.Recv()
		if want := fmt.Sprint(i/5*10 + 5); err != nil || row.GetScore() != want {
			t.Fatalf("score %v, want %s, %v", row, want, err)
		}
		if i == 10 {
			a.finish(t)
		}
	}
	b.finish(t)
	g.finish(t)
}

// lockedBuffer takes what several goroutines say.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
