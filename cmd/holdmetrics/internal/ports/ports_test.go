package ports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/internal/service"
)

// A server that other machines can reach has TLS and authentication, or is insecure on
// purpose.
func TestNobodyIsServedByAccident(t *testing.T) {
	t.Parallel()
	withTLS := settings.Security{TLSCert: "c", TLSKey: "k"}
	mutual, authOnly, both := withTLS, settings.Security{Auth: true}, withTLS
	mutual.TLSClientCA, both.Auth = "ca", true
	insecure := settings.Security{Insecure: true}
	for _, c := range []struct {
		address  string
		security settings.Security
		refused  string // a part of the error; empty: none
		warned   bool
	}{
		{"127.0.0.1:0", settings.Security{}, "", false},
		{"[::1]:0", settings.Security{}, "", false},
		{"localhost:0", settings.Security{}, "", false},
		{"0.0.0.0:0", settings.Security{}, "there is no TLS and no authentication: give --tls-cert and --tls-key, and --auth on (or --tls-client-ca), or listen on 127.0.0.1, or say --insecure", false},
		{":0", settings.Security{}, "no TLS and no authentication", false},
		{"[::]:0", settings.Security{}, "no TLS and no authentication", false},
		{"0.0.0.0:0", withTLS, "there is no authentication: give --auth on (or --tls-client-ca), or", false},
		{"0.0.0.0:0", authOnly, "there is no TLS: give --tls-cert and --tls-key, or", false},
		{"0.0.0.0:0", mutual, "", false},
		{"0.0.0.0:0", both, "", false},
		{"0.0.0.0:0", insecure, "", true},
		{"127.0.0.1:0", insecure, "", false},
	} {
		core, logs := observer.New(zap.DebugLevel)
		l, err := ListenSafely(settings.KeyHTTP, c.address, &c.security, zap.New(core))
		if err == nil {
			_ = l.Close()
		} else if strings.HasPrefix(c.address, "[") && errors.As(err, new(*net.OpError)) {
			continue // this machine has no IPv6
		}
		name := fmt.Sprintf("%s %+v", c.address, c.security)
		if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (!errors.As(err, new(usage.Error)) || !strings.Contains(err.Error(), "--http-address")) {
			t.Errorf("%s: %v is no error of usage that names its setting", name, err)
		}
		if (logs.FilterMessageSnippet("insecure").Len() > 0) != c.warned {
			t.Errorf("%s: logged %v", name, logs.All())
		}
	}
}

// While a process starts, HTTP answers what it waits for.
func TestAStartAnswers(t *testing.T) {
	t.Parallel()
	s := &settings.Settings{GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0"}
	p, err := Open(s, 10, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	group := service.New()
	group.Add("the ports", service.Func(p.Close))
	p.Answer(func() error { return errors.New("starting: waiting for the embedded NATS server for 5m0s") }, group)
	defer func() {
		if err := group.Stop(); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/stats": 503, "/metrics": 503, "/": 503} {
		answer, err := client.Get("http://" + p.HTTP().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != want || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %s, %v", path, answer.Status, text, err)
		}
		var problem struct {
			Status int
			Detail string
		}
		if want == http.StatusOK {
			continue
		}
		if err := json.Unmarshal(text, &problem); err != nil || problem.Status != want || !strings.Contains(problem.Detail, "the embedded NATS server for 5m0s") ||
			answer.Header.Get("Retry-After") == "" || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %v %s, %v", path, answer.Header, text, err)
		}
	}
}
