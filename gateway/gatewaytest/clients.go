package gatewaytest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// RawBytes is a message of gRPC as bytes, so that a test can send what no client of
// Go would.
type RawBytes struct{ Bytes []byte }

// rawCodec passes rawBytes on, and is the ordinary codec for all else.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*RawBytes); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw.Bytes)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// ForceRaw has a call take rawBytes.
var ForceRaw = grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")})

// Do sends a request and returns the answer with its body.
func Do(t *testing.T, method, url, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", ContentType(url))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

// ContentType returns the content type of the events that a path takes.
func ContentType(url string) string {
	if strings.HasSuffix(url, "/holds") {
		return "application/x-ndjson"
	}
	return "application/json"
}

// Get reads a path of the HTTP server, and fails the test unless the status is want.
func Get(t *testing.T, w *World, path string, want int) []byte {
	t.Helper()
	resp, body := Do(t, http.MethodGet, w.Url+path, "")
	if resp.StatusCode != want {
		t.Fatalf("GET %s: %d %s", path, resp.StatusCode, body)
	}
	return body
}

// ProblemOf reads an error answer, which has to be a problem document.
func ProblemOf(t *testing.T, resp *http.Response, body []byte) huma.ErrorModel {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	var p huma.ErrorModel
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if p.Status != resp.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %s", body)
	}
	return p
}

// GoodEvent returns the i-th of any number of valid events.
func GoodEvent(i int) *holdpb.HoldMsg {
	return &holdpb.HoldMsg{TokenId: "pool", HolderId: fmt.Sprintf("holder/%d", i%97), Start: fakes.Seconds(int64(1_600_000_000 + i)), Weight: 2}
}

// RawStream opens a streaming method for messages as bytes, so that a test can
// send what no client of Go would.
func RawStream(t *testing.T, w *World, method string) grpc.ClientStream {
	t.Helper()
	s, err := w.Conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, ForceRaw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ReadLog is all events of a log.
func ReadLog(t *testing.T, l *ingest.Log) (events [][]byte) {
	t.Helper()
	last, err := l.LastPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.JetStream().Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	for position := uint64(1); position <= last; position++ {
		m, err := s.GetMsg(t.Context(), position)
		if err != nil {
			t.Fatal(err)
		}
		frame := ingest.ReadFrame(m.Data)
		for {
			event, ok := frame.Next()
			if !ok {
				break
			}
			events = append(events, event)
		}
	}
	return events
}

// Received is what a stream sends, to its end.
func Received[T any](stream grpc.ServerStreamingClient[T], err error) ([]*T, error) {
	var all []*T
	for err == nil {
		var row *T
		if row, err = stream.Recv(); err == nil {
			all = append(all, row)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

// Lines are the rows of an NDJSON answer.
func Lines[T any](t *testing.T, body []byte) (all []T) {
	t.Helper()
	for line := range strings.Lines(string(body)) {
		var row T
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, row)
	}
	return all
}

// AllOf returns all rows that Scores streams.
func AllOf(t *testing.T, w *World, req *holdpb.ScoresRequest) ([]*holdpb.Score, error) {
	t.Helper()
	stream, err := w.Query().Scores(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var rows []*holdpb.Score
	for {
		row, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
}

// ScoreWorld has two holders with holds at known times, and one who only waits.
func ScoreWorld(t *testing.T, change ...func(*World)) *World {
	w := NewWorld(t, change...)
	w.Apply(t, 9, 1_650_000_000e9,
		fakes.Held("x", "alice", 1000, 2000, 2.5),
		fakes.Held("y", "alice", 1000, 1100, 3),
		fakes.OpenHold("y", "alice", 5000, 1),
		fakes.Held("x", "bo/b", 1000, 4000, 1),
		fakes.Held("x", "bo/b", 2000, 4000, 10),
		hold.Draft{Token: "x", Holder: "waits", End: fakes.At(77)},
		fakes.Held("z", "lock", 1000, fakes.TestNow/1e9+100, 2), // ends after now
	)
	return w
}

// Violated is the field that a status names.
func Violated(err error) string {
	for _, d := range status.Convert(err).Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			return b.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}

// TestStats returns the snapshots that most tests begin with.
func TestStats() []*holdpb.HoldStat {
	return []*holdpb.HoldStat{
		{HolderId: "alice", TotalSeconds: 10, WeightedScore: 25, UpdatedAt: fakes.Seconds(5), ScoreExact: "25", HeldExact: "10", LiveBase: "25", LiveRate: "2.5", Since: fakes.Seconds(5), Position: 7},
		{HolderId: "a/b", TotalSeconds: 1, WeightedScore: 1, ScoreExact: "1"},
	}
}

// GoodLine is an event as a line; each i is another one.
func GoodLine(i int) string {
	return fmt.Sprintf(`{"token_id":"pool","holder_id":"holder/%d","start":%d,"weight":2}`, i%97, 1_600_000_000+i)
}

// ManyLines writes lines of which every seventh is bad.
func ManyLines(to io.Writer, n int) error {
	for i := range n {
		line := GoodLine(i)
		if i%7 == 3 {
			line = `{"token_id":"pool","start":1}`
		}
		if _, err := io.WriteString(to, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// StatOf returns a snapshot with a settled score and a rate, which began ten seconds ago.
func StatOf(holder, settled, rate string) *holdpb.HoldStat {
	return &holdpb.HoldStat{HolderId: holder, ScoreExact: settled, LiveBase: settled, LiveRate: rate, Since: fakes.Seconds(fakes.TestNow/1e9 - 10)}
}

// WatchOf begins a watch by gRPC; next gives a line for what comes.
func WatchOf(t *testing.T, w *World, req *holdpb.StatsRequest) (next func() string, stream grpc.ServerStreamingClient[holdpb.HoldStat]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req.Watch = true
	stream, err := w.Metrics().Stats(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		s, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return lineOf(s)
	}, stream
}

func lineOf(s *holdpb.HoldStat) string {
	switch {
	case s.Complete:
		return "complete"
	case s.Gone:
		return s.HolderId + " gone"
	}
	return strings.TrimSpace(s.HolderId + " " + s.ScoreExact + " " + s.LiveScore)
}

// EventsOf begins a watch by SSE; next gives a line for each event, and an id that
// stands alone as "id ...".
func EventsOf(t *testing.T, w *World, query, lastID string) (next func() string, resp *http.Response) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Url+"/stats/watch?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	in := bufio.NewReader(resp.Body)
	return func() string {
		t.Helper()
		kind := ""
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			name, data, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch name {
			case "event":
				kind = data
			case "id":
				return "id " + data
			case ":":
				return "heartbeat"
			case "data":
				var row httpapi.StatRow
				if err := json.Unmarshal([]byte(data), &row); err != nil {
					t.Fatalf("%s: %v", data, err)
				}
				if kind == "stat" {
					return strings.TrimSpace(row.HolderID + " " + row.ScoreExact + " " + row.LiveScore)
				}
				return strings.TrimSpace(row.HolderID + " " + kind)
			}
		}
	}, resp
}

// Expect fails the test unless next returns these lines, one after the other.
func Expect(t *testing.T, next func() string, want ...string) {
	t.Helper()
	for _, line := range want {
		got := next()
		for strings.HasPrefix(got, "id ") || got == "heartbeat" {
			got = next()
		}
		if got != line {
			t.Fatalf("got %q, want %q", got, line)
		}
	}
}

// RefusedByGRPC fails the test unless err has the code and names the field.
func RefusedByGRPC(t *testing.T, err error, code codes.Code, field string) {
	t.Helper()
	if status.Code(err) != code || Violated(err) != field {
		t.Errorf("gRPC: %v (%q), want %v (%q)", err, Violated(err), code, field)
	}
}

// RefusedByHTTP fails the test unless a GET is answered by a problem document with the
// status, and with the location of the error unless that is empty.
func RefusedByHTTP(t *testing.T, url string, status int, location string) {
	t.Helper()
	resp, body := Do(t, http.MethodGet, url, "")
	p := ProblemOf(t, resp, body)
	if resp.StatusCode != status || location != "" && (len(p.Errors) == 0 || p.Errors[0].Location != location) {
		t.Errorf("GET %s: %d %s", url, resp.StatusCode, body)
	}
}
