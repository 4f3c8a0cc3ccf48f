package httpapi_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/httpapi"
)

// Pages of an allowed origin read the JSON and the watch, whatever the answer, and send
// nothing. Those of others get no permission, and caches keep the answers apart.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	const page = "https://example.com"
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.HTTP.CORSOrigins = []string{"http://localhost:3000", page}
	})
	closed := gatewaytest.NewWorld(t)
	send := func(w *gatewaytest.World, method, path string, headers ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, w.Url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	const origin, method = "Origin", "Access-Control-Request-Method"
	for _, c := range []struct {
		what, method, path string
		headers            []string
		status             int
		allowed, varies    bool
	}{
		{"a read", "GET", "/stats", []string{origin, page}, 200, true, true},
		{"of the other one", "GET", "/top", []string{origin, "http://localhost:3000"}, 200, true, true},
		{"a watch", "GET", "/stats/watch", []string{origin, page}, 200, true, true},
		{"an error", "GET", "/scores?as_of=never", []string{origin, page}, 422, true, true},
		{"the head", "HEAD", "/stats", []string{origin, page}, 200, true, true},
		{"a stranger", "GET", "/stats", []string{origin, "https://example.org"}, 200, false, true},
		{"another port", "GET", "/stats", []string{origin, page + ":8443"}, 200, false, true},
		{"a sandbox", "GET", "/stats", []string{origin, "null"}, 200, false, true},
		{"no page", "GET", "/stats", nil, 200, false, true},
		{"an event", "POST", "/hold", []string{origin, page}, 403, false, false},
		{"the page of this server", "GET", "/", []string{origin, page}, 200, false, false},
		{"metrics", "GET", "/metrics", []string{origin, page}, 200, false, false},
		{"a preflight", "OPTIONS", "/stats/watch", []string{origin, page, method, "GET"}, 204, true, true},
		{"a stranger's preflight", "OPTIONS", "/stats/watch", []string{origin, "https://example.org", method, "GET"}, 405, false, true},
		{"the preflight of an event", "OPTIONS", "/hold", []string{origin, page, method, "POST"}, 405, false, false},
		{"of nothing", "OPTIONS", "/nothing", []string{origin, page, method, "GET"}, 404, false, false},
	} {
		resp := send(w, c.method, c.path, c.headers...)
		allowed := resp.Header.Get("Access-Control-Allow-Origin")
		want := ""
		if c.allowed {
			want = c.headers[1]
		}
		if resp.StatusCode != c.status || allowed != want || slices.Contains(resp.Header.Values("Vary"), "Origin") != c.varies {
			t.Errorf("%s: %d, allowed %q, Vary %v; want %d, %q, %v", c.what, resp.StatusCode, allowed, resp.Header.Values("Vary"), c.status, want, c.varies)
		}
		if methods := resp.Header.Get("Access-Control-Allow-Methods"); (methods != "") != (c.status == 204) || strings.Contains(methods, "POST") {
			t.Errorf("%s: methods %q", c.what, methods)
		}
		if c.status == 204 && !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Last-Event-ID") {
			t.Errorf("%s: headers %q", c.what, resp.Header.Get("Access-Control-Allow-Headers"))
		}
		if resp := send(closed, c.method, c.path, c.headers...); resp.Header.Get("Access-Control-Allow-Origin") != "" || slices.Contains(resp.Header.Values("Vary"), "Origin") || resp.StatusCode == 204 {
			t.Errorf("%s: %d %v without any origin", c.what, resp.StatusCode, resp.Header)
		}
	}
	cfg := w.Cfg
	cfg.Registerer = nil
	cfg.HTTP.CORSOrigins = []string{"*"}
	if _, err := gateway.New(cfg); !errors.Is(err, gateway.ErrConfig) || !errors.Is(err, httpapi.ErrOrigin) {
		t.Errorf("a gateway for every origin: %v", err)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"https://example.com": true, "http://localhost:3000": true, "http://127.0.0.1:8080": true,
		"http://[::1]:3000": true, "capacitor://localhost": true, "https://example.com:8443": true,
		"": false, "*": false, "null": false, "example.com": false, "https://": false,
		"https://example.com/": false, "https://example.com/a": false, "https://a@example.com": false,
		"https://Example.com": false, "HTTPS://example.com": false, "https://example.com:443": false,
		"http://example.com:80": false, "https://example.com?": false, "https://example.com#": false,
		"https://example.com,https://b.example": false,
	} {
		if err := httpapi.CheckOrigin(text); (err == nil) != good || err != nil && !errors.Is(err, httpapi.ErrOrigin) {
			t.Errorf("CheckOrigin(%q) = %v; want it good: %v", text, err, good)
		}
	}
}
