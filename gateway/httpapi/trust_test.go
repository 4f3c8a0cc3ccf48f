package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
)

// What a browser sends for the page of a stranger is refused, and what programs and the
// server's own page send is taken. Nothing of what is refused reaches the log.
func TestStrangersPages(t *testing.T) {
	t.Parallel()
	const event = `{"token_id":"t","holder_id":"h","start":5}`
	p := &fakes.Producer{}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Producer = p
		w.Cfg.HTTP.Names = []string{"Hold.example.com", "*.example.org"}
	})
	address := strings.TrimPrefix(w.Url, "http://")
	_, port, _ := strings.Cut(address, ":")
	for _, c := range []struct {
		what, method, path string
		headers            []string // Host is the name of the server
		status             int
		says               string
	}{
		{"a program", "POST", "/hold", []string{"Content-Type", "application/json"}, 202, ""},
		{"with a charset", "POST", "/hold", []string{"Content-Type", "application/json; charset=utf-8"}, 202, ""},
		{"upper case", "POST", "/hold", []string{"Content-Type", "Application/JSON"}, 202, ""},
		{"lines", "POST", "/holds", []string{"Content-Type", "application/x-ndjson"}, 200, ""},
		{"lines of another name", "POST", "/holds", []string{"Content-Type", "application/jsonl"}, 200, ""},
		{"the original path", "POST", "/hold/", []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{"a form", "POST", "/hold", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, `"application/x-www-form-urlencoded": send application/json`},
		{"a form with files", "POST", "/holds", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "application/x-ndjson"},
		{"plain text", "POST", "/hold", []string{"Content-Type", "text/plain"}, 415, "send application/json"},
		{"nothing", "POST", "/holds", nil, 415, "send application/x-ndjson"},
		{"what begins as JSON", "POST", "/hold", []string{"Content-Type", "application/json, text/plain"}, 415, ""},
		{"the server's own page", "POST", "/hold", []string{"Content-Type", "application/json", "Origin", w.Url, "Sec-Fetch-Site", "same-origin"}, 202, ""},
		{"a page of a stranger", "POST", "/hold", []string{"Content-Type", "application/json", "Origin", "https://evil.example"}, 403, "other origins"},
		{"the same host, another port", "POST", "/hold", []string{"Content-Type", "application/json", "Origin", "http://127.0.0.1:1"}, 403, ""},
		{"a sandbox", "POST", "/holds", []string{"Content-Type", "application/x-ndjson", "Origin", "null"}, 403, ""},
		{"a browser of today", "POST", "/hold", []string{"Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a sibling", "POST", "/hold", []string{"Content-Type", "application/json", "Sec-Fetch-Site", "same-site"}, 403, ""},
		{"a page by another name", "GET", "/stats", []string{"Host", "evil.example:" + port}, 421, `"evil.example:` + port + `": name it in --http-names`},
		{"an event by another name", "POST", "/hold", []string{"Host", "evil.example", "Content-Type", "application/json"}, 421, ""},
		{"metrics by another name", "GET", "/metrics", []string{"Host", "evil.example"}, 421, ""},
		{"a name that ends alike", "GET", "/stats", []string{"Host", "evilhold.example.com"}, 421, ""},
		{"the top of a pattern", "GET", "/stats", []string{"Host", "example.org"}, 421, ""},
		{"a name like an address", "GET", "/stats", []string{"Host", "127.0.0.1.evil.example"}, 421, ""},
		{"a configured name", "GET", "/stats", []string{"Host", "hold.example.com"}, 200, ""},
		{"with a port, in capitals, and the root", "GET", "/stats", []string{"Host", "HOLD.example.com.:8000"}, 200, ""},
		{"below a pattern", "GET", "/stats", []string{"Host", "a.b.example.org"}, 200, ""},
		{"localhost", "GET", "/stats", []string{"Host", "localhost:" + port}, 200, ""},
		{"an address", "GET", "/stats", []string{"Host", "192.0.2.7:8000"}, 200, ""},
		{"an address of six", "GET", "/stats", []string{"Host", "[2001:db8::1]:8000"}, 200, ""},
		{"the same without a port", "GET", "/stats", []string{"Host", "[2001:db8::1]"}, 200, ""},
		{"a probe", "GET", "/healthz", []string{"Host", "evil.example"}, 200, ""},
		{"another probe", "GET", "/readyz", []string{"Host", "evil.example"}, 200, ""},
	} {
		body := ""
		if c.method == http.MethodPost {
			body = event
		}
		req, err := http.NewRequestWithContext(t.Context(), c.method, w.Url+c.path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.headers); i += 2 {
			if c.headers[i] == "Host" {
				req.Host = c.headers[i+1]
				continue
			}
			req.Header.Set(c.headers[i], c.headers[i+1])
		}
		before := p.Took
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Status int    `json:"status"`
			Detail string `json:"detail"`
		}
		if resp.StatusCode >= 300 {
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Status != resp.StatusCode {
				t.Errorf("%s: the answer is no problem document: %v, %+v", c.what, err, problem)
			}
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(problem.Detail, c.says) {
			t.Errorf("%s: %d %q, not %d %q", c.what, resp.StatusCode, problem.Detail, c.status, c.says)
		}
		if took := p.Took > before; took != (c.method == http.MethodPost && c.status < 300) {
			t.Errorf("%s: the log took an event: %v", c.what, took)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"hold.example.com", "*.example.com", "*", "gateway", "gateway.default.svc.cluster.local"} {
		if err := httpapi.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "*.", "https://hold.example.com", "hold.example.com:8000", "a/b", "a.*.b", ".example.com", "user@host", "a b"} {
		if httpapi.CheckName(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
