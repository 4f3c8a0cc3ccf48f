package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/ingest"
)

// holdsAnswered is an answer of POST /holds, read back.
type holdsAnswered struct {
	status  int
	raw     []byte
	refused []httpapi.HoldsLine
	summary httpapi.HoldsSummary
}

// postLines posts a body and reads an NDJSON answer.
func postLines(t *testing.T, w *gatewaytest.World, body io.Reader, header ...string) holdsAnswered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Url+"/holds", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := holdsAnswered{status: resp.StatusCode}
	if a.raw, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if a.status != http.StatusOK {
		gatewaytest.ProblemOf(t, resp, a.raw)
		return a
	}
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type %q", got)
	}
	lines := bytes.Split(bytes.TrimSuffix(a.raw, []byte("\n")), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var r httpapi.HoldsLine
		if err := json.Unmarshal(line, &r); err != nil || r.Error == "" {
			t.Fatalf("%s: %v", line, err)
		}
		a.refused = append(a.refused, r)
	}
	last := lines[len(lines)-1]
	if err := json.Unmarshal(last, &a.summary); err != nil || !bytes.HasPrefix(last, []byte(`{"accepted":`)) {
		t.Fatalf("last line %s: %v", last, err)
	}
	if a.summary.Refused != uint64(len(a.refused)) {
		t.Errorf("%d refused, %d lines", a.summary.Refused, len(a.refused))
	}
	return a
}

func TestPostHolds(t *testing.T) {
	t.Parallel()
	long := `{"token_id":"` + strings.Repeat("x", httpapi.MaxLineBytes) + `"}`
	fits := gatewaytest.GoodLine(9) + strings.Repeat(" ", httpapi.MaxLineBytes-len(gatewaytest.GoodLine(9)))
	for name, c := range map[string]struct {
		body     string
		accepted uint64
		refused  []httpapi.HoldsLine // the error is a part of it
	}{
		"nothing":              {"", 0, nil},
		"one":                  {gatewaytest.GoodLine(1) + "\n", 1, nil},
		"without newline":      {gatewaytest.GoodLine(1) + "\n" + gatewaytest.GoodLine(2), 2, nil},
		"empty lines":          {"\n\r\n" + gatewaytest.GoodLine(1) + "\r\n \t\n\n", 1, nil},
		"only empty lines":     {strings.Repeat("\n", 5000), 0, nil},
		"as long as it may":    {fits + "\n" + fits, 2, nil},
		"too long by one":      {fits + " \n" + gatewaytest.GoodLine(1), 1, []httpapi.HoldsLine{{1, "", "longer than", ""}}},
		"too long":             {gatewaytest.GoodLine(1) + "\n" + long + long + long + "\n" + gatewaytest.GoodLine(2) + "\n", 2, []httpapi.HoldsLine{{2, "", "longer than", ""}}},
		"too long at the end":  {gatewaytest.GoodLine(1) + "\n" + long + long, 1, []httpapi.HoldsLine{{2, "", "longer than", ""}}},
		"too long, then wrong": {long + "\n{}\n" + long + "\n", 0, []httpapi.HoldsLine{{1, "", "longer", ""}, {2, "token_id", "required", ""}, {3, "", "longer", ""}}},
		"bad among good": {strings.Join([]string{
			gatewaytest.GoodLine(1),
			`{"token_id":"t","start":5}`,
			``,
			`{"token_id":"t","holder_id":"h","start":5,"wieght":1}`,
			gatewaytest.GoodLine(2),
			`nonsense`,
			"{\"token_id\":\"\xff\",\"holder_id\":\"h\",\"start\":5}",
			`{"token_id":"t","holder_id":"h","start":5,"end":4}`,
			gatewaytest.GoodLine(3),
		}, "\n"), 3, []httpapi.HoldsLine{{2, "holder_id", "required", ""}, {4, "wieght", "not a field", ""}, {6, "", "malformed", ""}, {7, "", "UTF-8", ""}, {8, "end", "before", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &fakes.Producer{}
			a := postLines(t, gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p }), strings.NewReader(c.body))
			if a.status != 200 || a.summary.Accepted != c.accepted || a.summary.Error != "" || (a.summary.Position == 0) != (c.accepted == 0) {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			if len(a.refused) != len(c.refused) {
				t.Fatalf("%s", a.raw)
			}
			for i, want := range c.refused {
				if got := a.refused[i]; got.Line != want.Line || got.Field != want.Field || !strings.Contains(got.Error, want.Error) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
			if p.Took != c.accepted {
				t.Errorf("the producer took %d", p.Took)
			}
		})
	}
}

// A body of any length, in a real log; its answer is longer than what is kept,
// so it begins while the body is read.
func TestPostManyHolds(t *testing.T) {
	t.Parallel()
	for name, pack := range map[string]func(io.Writer) io.WriteCloser{
		"plain": nil,
		"gzip":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
			const n = 40_000 // the answer is longer than what is kept, see HeldAnswer
			r, body := io.Pipe()
			header := []string(nil)
			var sender sync.WaitGroup
			sender.Go(func() {
				if pack == nil {
					body.CloseWithError(gatewaytest.ManyLines(body, n))
					return
				}
				packed := pack(body)
				body.CloseWithError(errors.Join(gatewaytest.ManyLines(packed, n), packed.Close()))
			})
			defer sender.Wait()
			if pack != nil {
				header = []string{"Content-Encoding", "gzip"}
			}
			a := postLines(t, w, r, header...)
			const bad = (n + 3) / 7
			if a.summary.Accepted != n-bad || len(a.refused) != bad || a.summary.Error != "" || len(a.raw) < httpapi.HeldAnswer {
				t.Fatalf("%d %+v, %d lines", a.status, a.summary, len(a.refused))
			}
			for i, got := range a.refused {
				if got.Line != uint64(i*7+4) || got.Field != "holder_id" {
					t.Fatalf("refusal %d is %+v", i, got)
				}
			}
			if got := len(gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))); got != n-bad {
				t.Fatalf("the log has %d events", got)
			}
		})
	}
}

func TestPostHoldsOfManyClients(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 3 {
				var body bytes.Buffer
				gatewaytest.ManyLines(&body, 700)
				if a := postLines(t, w, &body); a.summary.Accepted != 600 || len(a.refused) != 100 {
					t.Errorf("%+v", a.summary)
				}
			}
		})
	}
	clients.Wait()
	if got := len(gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))); got != 8*3*600 {
		t.Fatalf("the log has %d events", got)
	}
}

func TestPostHoldsWhereTheLogFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		status int
	}{
		"busy":     {ingest.ErrBusy, 429},
		"closed":   {ingest.ErrClosed, 503},
		"log away": {&ingest.NotAcknowledgedError{Cause: errors.New("no responders")}, 503},
		"bug":      {errors.New("bug"), 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = &fakes.Producer{Err: c.err} })
			resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/holds", "{}\n"+gatewaytest.GoodLine(1)+"\n")
			if gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != c.status || (resp.Header.Get("Retry-After") == "") != (c.status == 500) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			// Half-way: what came before stays accepted, and the last line says so.
			p := &fakes.Producer{FailFrom: 11, Err: c.err}
			w = gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p })
			lines := "\n"
			for i := range 5000 {
				lines += gatewaytest.GoodLine(i) + "\n"
			}
			a := postLines(t, w, strings.NewReader(lines))
			if a.status != 200 || a.summary.Accepted != 10 || a.summary.Error == "" || a.summary.ResumeAt != 12 {
				t.Errorf("%d %s", a.status, a.raw)
			}
			if p.Took > 2*httpapi.HoldsPieceLines {
				t.Errorf("%d events were tried after the log had failed", p.Took)
			}
		})
	}
}

func TestPostHoldsOfBodiesThatAreNone(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := errors.Join(gatewaytest.ManyLines(z, 5000), z.Close()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		encoding string
		body     []byte
		status   int
	}{
		"no gzip":        {"gzip", []byte(gatewaytest.GoodLine(1)), 400},
		"empty gzip":     {"gzip", nil, 400},
		"other encoding": {"br", []byte(gatewaytest.GoodLine(1)), 415},
		"half a gzip":    {"gzip", packed.Bytes()[:20], 400},
	} {
		if a := postLines(t, w, bytes.NewReader(c.body), "Content-Encoding", c.encoding); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	a := postLines(t, w, bytes.NewReader(packed.Bytes()[:packed.Len()/2]), "Content-Encoding", "gzip")
	if a.status != 200 || a.summary.Accepted == 0 || a.summary.Error == "" || a.summary.ResumeAt != a.summary.Accepted+a.summary.Refused+1 {
		t.Errorf("gzip that breaks off: %d %+v", a.status, a.summary)
	}
}

// A client that goes away in the middle leaves what it has sent in the log, and
// nothing else behind.
func TestPostHoldsOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	taken := make(chan struct{}, 100)
	p := &fakes.Producer{OnTake: func() { taken <- struct{}{} }}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = p })
	ctx, cancel := context.WithCancel(t.Context())
	r, body := io.Pipe()
	var client sync.WaitGroup
	client.Go(func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Url+"/holds", r)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Error("there was an answer")
		}
	})
	for i := range 10 { // each is on its way before the next is sent
		if _, err := io.WriteString(body, gatewaytest.GoodLine(i)+"\n"); err != nil {
			t.Fatal(err)
		}
		<-taken
	}
	io.WriteString(body, gatewaytest.GoodLine(11)[:20]) // half a line is no event
	cancel()
	// An end of the body could still be sent before the cancel is seen.
	body.CloseWithError(errors.New("the client is gone"))
	client.Wait()
	w.Close()
	if p.Took != 10 {
		t.Errorf("%d events were taken", p.Took)
	}
	// The server has ended when its connections are, which may be before the handler
	// has seen it.
	for deadline := time.Now().Add(time.Minute); counted(t, w, "POST /holds", "499") != 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the request was not counted as left")
		}
	}
}
