package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/internal/tlsfiles/tlstest"
	holdpb "holdmetrics/proto"
)

// onLoopback are settings of a process of a test.
func onLoopback(t *testing.T) *settings.Settings {
	t.Helper()
	return &settings.Settings{
		DataDir: t.TempDir(), GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", NATSAddress: "127.0.0.1:0",
		Limits: hold.DefaultLimits(), GCInterval: time.Minute, StartTimeout: settings.DefaultStartTimeout,
	}
}

// startedServer returns a server that runs until the test ends.
func startedServer(t *testing.T, s *settings.Settings) *Server {
	t.Helper()
	p := NewServer(s, "test", Instruments{Log: zap.NewNop()})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(errors.Join(err, p.Stop()))
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// overTLS returns a client of HTTP whose connections are of one request each.
func overTLS(config *tls.Config) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

// status returns the status and the protocol of an answer, or the error.
func status(client *http.Client, url string) string {
	answer, err := client.Get(url)
	if err != nil {
		return "error"
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return fmt.Sprint(answer.StatusCode, " ", answer.Proto)
}

func recordOver(t *testing.T, address string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ack, err := holdpb.NewHoldMetricsClient(conn).Record(t.Context(), &holdpb.HoldMsg{TokenId: "T", HolderId: "h", Start: &timestamppb.Timestamp{Seconds: 100}})
	if err == nil && !ack.GetOk() {
		err = errors.New(ack.GetError())
	}
	return err
}

// Both servers speak TLS alone, with clients of one authority alone, and take a new
// certificate while they run.
func TestServersOverTLS(t *testing.T) {
	t.Parallel()
	dir, servers, clients := t.TempDir(), tlstest.New(t), tlstest.New(t)
	s := onLoopback(t)
	s.Security.TLSCert, s.Security.TLSKey = servers.Issue(t, tlstest.Cert{Name: "first"}).Write(t, dir, "server")
	s.Security.TLSClientCA = clients.Write(t, dir, "clients.pem")
	p := startedServer(t, s)
	web, rpc := p.ports.HTTP().String(), p.ports.GRPC().String()

	alice := clients.Issue(t, tlstest.Cert{Name: "alice"}).TLS(t)
	good := func() *tls.Config {
		return &tls.Config{RootCAs: servers.Pool(), Certificates: []tls.Certificate{alice}, MinVersion: tls.VersionTLS12}
	}
	with := func(change func(*tls.Config)) *tls.Config {
		config := good()
		change(config)
		return config
	}
	stranger := servers.Issue(t, tlstest.Cert{Name: "stranger"}).TLS(t)
	refused := map[string]*tls.Config{
		"no certificate": with(func(c *tls.Config) { c.Certificates = nil }),
		"a certificate of another": with(func(c *tls.Config) {
			c.Certificates = nil
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
		}),
		"TLS 1.1":                          with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }),
		"a server of an unknown authority": with(func(c *tls.Config) { c.RootCAs = clients.Pool() }),
	}
	if got := status(overTLS(good()), "https://"+web+"/healthz"); got != "200 HTTP/2.0" {
		t.Errorf("with everything: %s", got)
	}
	old := overTLS(with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }))
	old.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	if got := status(old, "https://"+web+"/healthz"); got != "200 HTTP/1.1" {
		t.Errorf("HTTP/1.1 over TLS 1.2: %s", got)
	}
	if err := recordOver(t, rpc, credentials.NewTLS(good())); err != nil {
		t.Errorf("gRPC with everything: %v", err)
	}
	for name, config := range refused {
		if got := status(overTLS(config), "https://"+web+"/healthz"); got != "error" {
			t.Errorf("%s: %s", name, got)
		}
		if err := recordOver(t, rpc, credentials.NewTLS(config)); err == nil {
			t.Errorf("gRPC with %s: taken", name)
		}
	}
	if got := status(http.DefaultClient, "http://"+web+"/healthz"); got != "400 HTTP/1.0" {
		t.Errorf("without TLS: %s", got)
	}
	if err := recordOver(t, rpc, insecure.NewCredentials()); err == nil {
		t.Error("gRPC without TLS: taken")
	}

	servers.Issue(t, tlstest.Cert{Name: "second"}).Write(t, dir, "server")
	testwait.Poll(t, "the new certificate is served", func() error {
		c, err := tls.Dial("tcp", web, good())
		if err != nil {
			return err
		}
		defer c.Close()
		if name := c.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "second" {
			return errors.New(name)
		}
		return nil
	})
}

// Every answer tells browsers what to keep to.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	dir, servers := t.TempDir(), tlstest.New(t)
	secure := onLoopback(t)
	secure.Security.TLSCert, secure.Security.TLSKey = servers.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	for name, s := range map[string]*settings.Settings{"http": onLoopback(t), "https": secure} {
		p := startedServer(t, s)
		client := overTLS(&tls.Config{RootCAs: servers.Pool(), MinVersion: tls.VersionTLS12})
		for _, path := range []string{"/", "/healthz", "/stats", "/nothing", "/docs", "/metrics", "/scores?limit=x"} {
			answer, err := client.Get(name + "://" + p.ports.HTTP().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			h := answer.Header
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" ||
				(h.Get("Strict-Transport-Security") != "") != (name == "https") || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s: %v", name, path, h)
			}
		}
	}
}

// What floods a server is cut off or refused over TLS too, and others are served.
func TestFloodsOverTLS(t *testing.T) {
	t.Parallel()
	dir, servers := t.TempDir(), tlstest.New(t)
	s := onLoopback(t)
	s.Security.TLSCert, s.Security.TLSKey = servers.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	p := startedServer(t, s)
	url := "https://" + p.ports.HTTP().String()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := overTLS(&tls.Config{RootCAs: servers.Pool(), MinVersion: tls.VersionTLS12})
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "HTTP/2.0"
		send := func(method, path string, header http.Header, body io.Reader) (code int, proto, text string) {
			request, err := http.NewRequestWithContext(t.Context(), method, url+path, body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = header
			answer, err := client.Do(request)
			if err != nil {
				return 0, protocol, err.Error()
			}
			defer answer.Body.Close()
			read, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
			return answer.StatusCode, answer.Proto, string(read)
		}
		if code, proto, text := send(http.MethodGet, "/healthz", nil, nil); code != http.StatusOK || proto != protocol {
			t.Errorf("%s: %d %s %s", protocol, code, proto, text)
		}
		// A client that has not sent all of it may see the connection close instead.
		if code, _, text := send(http.MethodGet, "/healthz", http.Header{"X-Long": {strings.Repeat("x", 1<<20)}}, nil); code != 0 && code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: a header of 1 MiB: %d %s", protocol, code, text)
		}
		line := io.MultiReader(strings.NewReader(`{"token_id":"`), io.LimitReader(endless('x'), 64<<20))
		if code, _, text := send(http.MethodPost, "/holds", http.Header{"Content-Type": {"application/x-ndjson"}}, line); code != http.StatusOK || !strings.Contains(text, "the line is longer than") {
			t.Errorf("%s: a line of 64 MiB: %d %s", protocol, code, text)
		}
		body := io.LimitReader(endless('x'), 64<<20)
		if code, _, text := send(http.MethodPost, "/hold", http.Header{"Content-Type": {"application/json"}}, body); code != 0 && code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: a body of 64 MiB: %d %s", protocol, code, text)
		}
		if code, _, text := send(http.MethodGet, "/healthz", nil, nil); code != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", protocol, code, text)
		}
	}
}

// endless reads one byte for ever.
type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}
