package ports

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type connectionKey struct{}

// limitedServer serves HTTP on a listener that takes most connections, prepared as serve
// prepares it. Its handler answers with what the server's own ConnContext has put there.
func limitedServer(t *testing.T, most int) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _ := r.Context().Value(connectionKey{}).(string)
		_, _ = w.Write([]byte(client))
	}))
	_ = web.Listener.Close()
	web.Listener = limitHTTP(l, most)
	web.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, "client "+c.RemoteAddr().Network())
	}
	probesBeyondLimit(web.Config)
	web.Start()
	t.Cleanup(web.Close)
	return web.URL
}

// The limit leaves what the server knows of its connections as it is.
func TestConnectionsKeepTheirContext(t *testing.T) {
	t.Parallel()
	url := limitedServer(t, 10)
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text := make([]byte, 100)
	n, _ := answer.Body.Read(text)
	if string(text[:n]) != "client tcp" {
		t.Errorf("the handler sees %q", text[:n])
	}
}

// A client that is refused reads the answer as one to its request, each time.
func TestRefusedClientsReadTheAnswer(t *testing.T) {
	t.Parallel()
	url := limitedServer(t, 1)
	for range 1 + probesBeyond + 10*refusalsAtOnce { // these take all places, and more are silent
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	fresh := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 200 {
		answer, err := fresh.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("the answer is %v", answer)
		}
		_ = answer.Body.Close()
	}
}
