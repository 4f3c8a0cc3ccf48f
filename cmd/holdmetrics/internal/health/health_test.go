package health

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

func TestLocal(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"0.0.0.0:8000": "127.0.0.1:8000", "[::]:8000": "127.0.0.1:8000", ":8000": "127.0.0.1:8000",
		"127.0.0.1:8000": "127.0.0.1:8000", "10.0.0.7:8000": "10.0.0.7:8000", "[::1]:8000": "[::1]:8000", "db:8000": "db:8000",
	} {
		if got := local(address); got != want {
			t.Errorf("a server at %s is asked at %s, want %s", address, got, want)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("the store is away\n"))
		}
	})
	plain, secure := httptest.NewServer(answers), httptest.NewTLSServer(answers)
	defer plain.Close()
	defer secure.Close()
	for _, s := range []struct {
		server   *httptest.Server
		security settings.Security
	}{{plain, settings.Security{}}, {secure, settings.Security{TLSCert: "absent.pem", TLSKey: "absent.key"}}} {
		address := s.server.Listener.Addr().String()
		if err := ask(context.Background(), address, "/healthz", &s.security); err != nil {
			t.Error(err)
		}
		err := ask(context.Background(), address, "/readyz", &s.security)
		if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "the store is away") {
			t.Errorf("not ready is answered with %v", err)
		}
	}
	gone := httptest.NewServer(answers)
	gone.Close()
	if err := ask(context.Background(), gone.Listener.Addr().String(), "/healthz", &settings.Security{}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a server that is away is answered with %v", err)
	}
}
