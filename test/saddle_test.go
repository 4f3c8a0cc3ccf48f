package test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdmetrics/ingest/transfers"
)

// The Saddle project published what its liquidity providers had held until this
// time, in wei x seconds, from the transfers that stand beside it.
const (
	saddleData = "../../shared/data/saddle-lp"
	saddleTime = "1626219032"
)

var saddleFlags = []string{"--token", "pool", "--from", "from_address", "--to", "to_address", "--value", "value", "--time", "block_timestamp"}

// saddle gives the path of the transfers and the published scores, "token,holder" to wei-seconds.
func saddle(t *testing.T) (file string, published map[string]string) {
	t.Helper()
	file = filepath.Join(saddleData, "transfers.csv.gz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the real transfers are not here: %v", err)
	}
	rows, err := csv.NewReader(unzip(t, filepath.Join(saddleData, "published_scores.csv.gz"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	published = map[string]string{}
	for _, row := range rows[1:] {
		published[row[0]+","+row[1]] = row[2]
	}
	if len(published) != 1822 {
		t.Fatalf("%d published scores, want 1822", len(published))
	}
	return file, published
}

func unzip(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// wantPublished compares csv output of stats or score with what was published:
// every row with its score, and no other score.
func wantPublished(t *testing.T, out string, published map[string]string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows[0], ","), "token_id,holder_id,score,held_seconds,settled_score,settled_held_seconds,weight,rate"; got != want {
		t.Fatalf("the columns are %s, want %s", got, want)
	}
	found := 0
	for _, row := range rows[1:] {
		want, ok := published[row[0]+","+row[1]]
		switch {
		case ok && row[2] == want:
			found++
		case ok:
			t.Errorf("%s of %s scores %s, published is %s", row[1], row[0], row[2], want)
		case row[2] != "0":
			t.Errorf("%s of %s scores %s and was not published", row[1], row[0], row[2])
		}
	}
	if found != len(published) {
		t.Errorf("%d scores are as published, want %d", found, len(published))
	}
}

func importTransfers(t *testing.T, s *server, file string) string {
	t.Helper()
	return run(t, append([]string{"import", "transfers", file, "--server", s.grpc}, saddleFlags...)...)
}

func TestSaddle(t *testing.T) {
	t.Parallel()
	file, published := saddle(t)
	s := start(t, t.TempDir())

	summary := importTransfers(t, s, file)
	for _, line := range []string{`rows 4045`, `acknowledged 5140`, `refused 0`} {
		if !strings.Contains(strings.Join(strings.Fields(summary), " "), line) {
			t.Errorf("the summary does not say %q:\n%s", line, summary)
		}
	}
	first := s.stats(saddleTime)
	wantPublished(t, first, published)

	offline := run(t, append([]string{"score", "transfers", file, "--by-token", "--as-of", saddleTime, "--format", "csv"}, saddleFlags...)...)
	wantSame(t, "score offline", offline, first)

	importTransfers(t, s, file)
	wantSame(t, "stats after a second import", s.stats(saddleTime), first)

	// Started again, it carries on where it was.
	s.stop()
	s = start(t, s.dir)
	wantSame(t, "stats after a restart", s.stats(saddleTime), first)
}

func wantSame(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("%s: line %d of %d is %q, want %q", what, i+1, len(a), a[i], b[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", what, len(a), len(b))
}

func TestSaddleInReverse(t *testing.T) {
	t.Parallel()
	file, published := saddle(t)
	ledger, err := transfers.New(transfers.Options{Columns: transfers.Columns{Token: "pool", From: "from_address", To: "to_address", Value: "value", Time: "block_timestamp"}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for e, err := range ledger.Events(t.Context(), file) {
		if err != nil {
			t.Fatal(err)
		}
		event := map[string]any{"token_id": e.Draft.Token, "holder_id": e.Draft.Holder, "start": e.Draft.Start.Seconds, "weight_exact": e.Draft.WeightExact}
		if e.Draft.End.Set {
			event["end"] = strconv.FormatInt(e.Draft.End.Seconds, 10)
		}
		line, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	slices.Reverse(lines)
	reversed := filepath.Join(t.TempDir(), "reversed.ndjson")
	if err := os.WriteFile(reversed, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir())
	run(t, "import", "events", reversed, "--server", s.grpc)
	wantPublished(t, s.stats(saddleTime), published)
}

// halfWay starts a proxy of a server that passes on the first bytes of what clients
// send, over all their connections, and then stands still. When the server ends a
// connection after that, the proxy ends too.
func halfWay(t *testing.T, server string, bytes int64) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(bytes)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			running.Go(func() {
				buffer := make([]byte, 4<<10)
				for left.Load() > 0 {
					n, err := client.Read(buffer)
					if _, failed := upstream.Write(buffer[:n]); err != nil || failed != nil {
						_ = upstream.Close()
						return
					}
					left.Add(-int64(n))
				}
			})
			running.Go(func() {
				_, _ = io.Copy(client, upstream)
				_, _ = client.Close(), upstream.Close()
				if left.Load() <= 0 {
					_ = listener.Close()
				}
			})
		}
	})
	return listener.Addr().String()
}

// TestSaddleKilledHalfWay waits until a part of the events is in the log, kills the
// server, and imports everything again.
func TestSaddleKilledHalfWay(t *testing.T) {
	t.Parallel()
	file, published := saddle(t)
	s := start(t, t.TempDir())
	conn, _ := s.natsConn()
	frames, err := conn.SubscribeSync("hold.log.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}

	var errText bytes.Buffer
	// An import sends nothing before it has checked its whole file, so what it sends is
	// cut, not what it reads.
	half := exec.Command(binary, append([]string{"import", "transfers", file, "--server", halfWay(t, s.grpc, 200<<10)}, saddleFlags...)...)
	half.Stderr = &errText
	if err := half.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := frames.NextMsg(patience); err != nil {
		t.Fatalf("no frame reached the log: %v", err)
	}
	s.kill()
	if err := half.Wait(); err == nil {
		t.Error("the import says that it succeeded")
	}
	if !strings.Contains(errText.String(), "events were acknowledged; running this again changes nothing") {
		t.Errorf("the import says: %s", errText.String())
	}

	s = start(t, s.dir)
	importTransfers(t, s, file)
	wantPublished(t, s.stats(saddleTime), published)
}
