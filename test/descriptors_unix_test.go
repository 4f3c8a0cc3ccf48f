//go:build unix

package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client takes all the connections that a server of few open files has: those beyond
// are answered with the reason, health checks and the other servers go on, events are
// taken, and with the connections closed everything is as before.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	const files = 256
	s := startBy(t, t.TempDir(), []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), binary})
	s.recordHolders(0, 50)
	s.awaitReady()

	for _, server := range []struct{ name, address string }{{"HTTP", s.http}, {"gRPC", s.grpc}, {"NATS", s.nats}} {
		address := strings.TrimPrefix(strings.TrimPrefix(server.address, "http://"), "nats://")
		var conns []net.Conn
		refused := ""
		for range files {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(server.name, err)
			}
			conns = append(conns, c)
		}
		// The last one was refused, and reads why.
		last := conns[len(conns)-1]
		_ = last.SetReadDeadline(time.Now().Add(patience))
		text, _ := io.ReadAll(last)
		if refused = string(text); !strings.Contains(refused, "too many connections") && !strings.Contains(refused, "maximum connections exceeded") {
			t.Errorf("%s: a connection too many reads %q", server.name, refused)
		}
		err := s.try("/readyz", nil)
		if err == nil || !strings.Contains(err.Error(), server.name+" server has all the") {
			t.Errorf("readyz while the %s server is full: %v", server.name, err)
		}
		if err := s.try("/healthz", nil); err != nil {
			t.Errorf("healthz while the %s server is full: %v", server.name, err)
		}
		if server.name == "HTTP" {
			fresh := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := fresh.Get(s.http + "/stats")
			if err != nil {
				t.Fatal("a read while the HTTP server is full:", err)
			}
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
				t.Errorf("a read while the HTTP server is full: %v", answer)
			}
			_ = answer.Body.Close()
		} else if wrong, refused := s.figures(50); wrong != nil || refused != nil {
			t.Error(server.name, wrong, refused)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		s.awaitReady()
	}
	s.recordHolders(50, 100)
	if wrong, refused := s.figures(100); wrong != nil || refused != nil {
		t.Error(wrong, refused)
	}
	s.stop()
}
