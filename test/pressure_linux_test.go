package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/build"
)

// allocated is how many bytes the server has allocated so far, whatever became of them: what
// a call costs, whether or not the machine is busy.
func (s *server) allocated() int {
	s.t.Helper()
	answer, err := http.Get(s.http + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "go_memstats_alloc_bytes_total "); found {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return int(n)
		}
	}
	s.t.Fatal("/metrics does not say what was allocated")
	return 0
}

// cpu is the processor time that the server has used.
func (s *server) cpu() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is a figure of the server's memory, in bytes: VmRSS now, VmHWM at most.
func (s *server) resident(field string) int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == field+":" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				s.t.Fatal(err)
			}
			return kib << 10
		}
	}
	s.t.Fatalf("the kernel does not say %s", field)
	return 0
}

// Frames of bad events cost about what frames of good ones do: messages, bytes and
// processor time. A good event behind them is seen as soon, and its readers, the list
// of dead letters and their retry know each of them.
func TestBadEventsCostNoMoreThanGoodOnes(t *testing.T) {
	t.Parallel()
	const frames = 20
	s := start(t, t.TempDir())
	s.awaitReady()
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const partition = 3
	holders := make([]string, 0, ingest.MaxFrameEvents)
	for i := 0; len(holders) < cap(holders); i++ {
		if name := holderName(i); ingest.Partition(name, log.Partitions()) == partition {
			holders = append(holders, name)
		}
	}
	// send publishes frames of events, and one good event behind them, and returns what
	// that cost when the good event is seen.
	send := func(good bool) time.Duration {
		t.Helper()
		before := s.cpu()
		var w ingest.FrameWriter
		for f := range frames {
			w.Reset()
			for i, holder := range holders {
				from, length := int64(100+f*1000+i), int64(1)
				if !good {
					length = -1
				}
				w.AppendDraft(&hold.Draft{Token: "GOLD", Holder: holder, Start: hold.StampOf(from * 1e9), End: hold.StampOf((from + length) * 1e9)})
			}
			if _, err := js.Publish(ctx, ingest.LogSubject(partition), w.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		marker := hold.Draft{Token: fmt.Sprint(good), Holder: holders[0], Start: hold.StampOf(100e9)}
		ack, err := js.Publish(ctx, ingest.LogSubject(partition), ingest.AppendEvent(nil, &marker))
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/scores?holder=%s&token=%s&as_of=200&after=%d", marker.Holder, marker.Token, ack.Sequence)
		s.eventually("the good event is seen", func() error { return s.try(path, nil) })
		return s.cpu() - before
	}
	send(true) // the first of all warms up
	good, bad := send(true), send(false)
	t.Logf("processor time: %v for good events, %v for bad ones", good, bad)
	if bad > 3*good+300*time.Millisecond {
		t.Errorf("bad events took %v of processor time, good ones %v", bad, good)
	}
	stream := func(name string) jetstream.StreamState {
		t.Helper()
		info, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return info.CachedInfo().State
	}
	events, deadLetters := stream(ingest.StreamName), stream(ingest.DeadLetterStream)
	t.Logf("the log has %d messages of %d bytes, the dead letters %d of %d", events.Msgs, events.Bytes, deadLetters.Msgs, deadLetters.Bytes)
	if deadLetters.LastSeq > frames {
		t.Errorf("%d frames of bad events made %d messages", frames, deadLetters.LastSeq)
	}
	if n, err := log.DeadLetters().Count(ctx); err != nil || n != frames*ingest.MaxFrameEvents {
		t.Fatalf("%d dead letters, %v", n, err)
	}
	count := run(t, "dlq", "list", "--count", "--nats-url", "nats://"+strings.TrimPrefix(s.nats, "nats://"), "--format", "csv")
	wantSame(t, "dead letters", count, fmt.Sprintf("kind,field,resolved,count\norder,end,,%d\n", frames*ingest.MaxFrameEvents))
	wantSame(t, "drop", run(t, "dlq", "drop", "--all", "--yes", "--nats-url", s.nats), fmt.Sprintf("dropped %d dead letters\n", frames*ingest.MaxFrameEvents))
	if after := stream(ingest.DeadLetterStream); after.Msgs > frames || after.LastSeq > 2*frames {
		t.Errorf("%d messages, %d in all, after they were dropped", after.Msgs, after.LastSeq)
	}
	s.stop()
}

// packed is a text many times over, compressed. It has several equal members, so that the
// test need not compress all of it.
func packed(t *testing.T, text string, times int) []byte {
	t.Helper()
	each := min(times, max(1024, 1<<20/len(text)))
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(strings.Repeat(text, each))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(b.Bytes(), times/each)
}

// postHolds sends a compressed body, and returns the status and the answer.
func (s *server) postHolds(ctx context.Context, body io.Reader, encoding string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.http+"/holds", body)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// A small body that unpacks to very much is cut short, with words, and eight of them at once
// cost next to nothing. Honest compressed bodies, also of equal events, are taken.
func TestCompressedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.awaitReady()
	event := `{"token_id":"GOLD","holder_id":"alice","start":100,"end":101}` + "\n"
	status, text, err := s.postHolds(t.Context(), bytes.NewReader(packed(t, event, 2048)), "gzip")
	if err != nil || status != http.StatusOK || !strings.Contains(text, `"accepted":2048`) {
		t.Fatalf("honest events: %d, %s, %v", status, text, err)
	}
	for _, c := range []struct {
		name, text, says string
		times            int
	}{
		{"line ends", "\n", "less compressed", 256 << 20},
		{"spaces", strings.Repeat(" ", 1000) + "\n", "less compressed", 256 << 10},
		{"one line", "x", "less compressed", 256 << 20},
	} {
		body := packed(t, c.text, c.times)
		before := s.cpu()
		var sending sync.WaitGroup
		for range 8 {
			sending.Go(func() {
				status, text, err := s.postHolds(t.Context(), bytes.NewReader(body), "gzip")
				if err != nil || status != http.StatusRequestEntityTooLarge || !strings.Contains(text, c.says) {
					t.Errorf("%s: %d, %s, %v", c.name, status, text, err)
				}
			})
		}
		sending.Wait()
		// What they unpack to is 2 GiB. Without a limit this takes 20 s and more.
		took := s.cpu() - before
		t.Logf("%s: %d bytes, eight times: %v of processor time", c.name, len(body), took)
		if took > 5*time.Second {
			t.Errorf("%s: %v of processor time", c.name, took)
		}
	}
	// What is not compressed costs its sender as much, and has a bound all the same.
	status, text, err = s.postHolds(t.Context(), strings.NewReader(strings.Repeat("\n", 2<<20)), "")
	if err != nil || status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "empty lines") {
		t.Errorf("empty lines: %d, %s, %v", status, text, err)
	}
	s.stop()
}

// A compressed message of gRPC that unpacks to very much is refused with words.
func TestCompressedMessagesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.awaitReady()
	client := holdpb.NewHoldMetricsClient(s.dial())
	large := &holdpb.HoldMsg{TokenId: strings.Repeat("x", 32<<20)}
	before, began := s.allocated(), time.Now()
	_, err := client.Record(t.Context(), large, grpc.UseCompressor(grpcgzip.Name))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "less compressed") {
		t.Errorf("record: %v", err)
	}
	stream, err := client.BroadcastBatch(t.Context(), grpc.UseCompressor(grpcgzip.Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&holdpb.HoldBatch{Events: []*holdpb.HoldMsg{large}}); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "less compressed") {
		t.Errorf("batch: %v", err)
	}
	// The two of them unpack to 64 MiB. A server that does nothing allocates less than 1 MiB
	// a second, which counts where a busy machine takes a minute for this.
	took := s.allocated() - before
	idle := int(time.Since(began).Seconds() * (1 << 20))
	t.Logf("%d bytes allocated, of them perhaps %d beside", took, idle)
	if took > 32<<20+idle {
		t.Errorf("two messages made the server allocate %d bytes", took)
	}
	ack, err := client.Record(t.Context(), &holdpb.HoldMsg{TokenId: "GOLD", HolderId: "alice", Weight: 1}, grpc.UseCompressor(grpcgzip.Name))
	if status.Code(err) != codes.InvalidArgument { // it has no time, and was read
		t.Errorf("%v, %v", ack, err)
	}
	s.stop()
}

// Only so many bodies are read at once. Others are refused, and may come again.
func TestBodiesAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "--max-bodies", "2")
	s.awaitReady()
	address := strings.TrimPrefix(s.http, "http://")
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The server says when it begins to read the body.
		fmt.Fprintf(conn, "POST /holds HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", address)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		held = append(held, conn)
	}
	status, text, err := s.postHolds(t.Context(), strings.NewReader("\n"), "")
	if err != nil || status != http.StatusTooManyRequests || !strings.Contains(text, "retry later") {
		t.Errorf("a third body: %d, %s, %v", status, text, err)
	}
	held[0].Close()
	s.eventually("a body is read again", func() error {
		status, text, err := s.postHolds(t.Context(), strings.NewReader("\n"), "")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d, %s, %v", status, text, err)
		}
		return nil
	})
	s.stop()
}

// Outside users of NATS may not fill the memory of the process.
func TestMemoryStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "--nats-memory-bytes", "8MiB")
	s.awaitReady()
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "LARGE", Subjects: []string{"large"}, Storage: jetstream.MemoryStorage, MaxBytes: 1 << 30}); err == nil {
		t.Error("a memory stream of 1 GiB was made")
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "MEMORY", Subjects: []string{"hold.memory"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	refused := error(nil)
	for i := 0; i < 64 && refused == nil; i++ {
		_, refused = js.PublishMsg(ctx, &nats.Msg{Subject: "hold.memory", Data: make([]byte, 512<<10)})
	}
	info, err := stream.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if refused == nil || info.State.Bytes > 9<<20 {
		t.Errorf("the stream has %d bytes, and the last message: %v", info.State.Bytes, refused)
	}
	// Events go on.
	if err := s.post("alice"); err != nil {
		t.Error(err)
	}
	s.stop()
}

// GOMEMLIMIT is kept while events come as fast as they can.
func TestMemoryLimitIsKept(t *testing.T) {
	t.Parallel()
	if build.Race {
		t.Skip("the race detector takes memory of its own")
	}
	const limit = 300 << 20
	s := start(t, t.TempDir(), "--memory-limit", "300MiB")
	s.awaitReady()
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := ingest.NewProducer(log, ingest.ProducerOptions{})
	var position uint64
	drafts := make([]hold.Draft, 20_000)
	for round := range 10 {
		for i := range drafts {
			from := int64(100 + round*10)
			drafts[i] = hold.Draft{Token: "GOLD", Holder: holderName(i * 5 % 100_000), Start: hold.StampOf(from * 1e9), End: hold.StampOf((from + 5) * 1e9)}
		}
		result, err := p.RecordBatch(ctx, drafts)
		if err != nil {
			t.Fatal(err)
		}
		position = result.Position
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s.eventually("all is applied", func() error { return s.try(fmt.Sprintf("/stats/%s?after=%d", holderName(0), position), nil) })
	peak := s.resident("VmHWM")
	t.Logf("peak %d MiB", peak>>20)
	if peak > limit {
		t.Errorf("peak %d MiB of %d", peak>>20, limit>>20)
	}
	s.stop()
}
