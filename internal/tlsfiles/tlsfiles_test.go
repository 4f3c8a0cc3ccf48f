package tlsfiles_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/internal/testwait"
	"holdmetrics/internal/tlsfiles"
	"holdmetrics/internal/tlsfiles/tlstest"
)

// serve serves a word to each connection at a listener of TLS until the test ends.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(raw, config)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(c, "hello")
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return raw.Addr().String()
}

// call connects and reads the word, and returns what is known of the connection.
func call(t *testing.T, address string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	// A client of TLS 1.3 learns by reading that its certificate is refused.
	text, err := io.ReadAll(c)
	if err == nil && string(text) != "hello" {
		err = errors.New("no word came")
	}
	return c.ConnectionState(), err
}

// watched returns a configuration whose log the test reads.
func watched(cfg tlsfiles.Config) (tlsfiles.Config, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	cfg.Logger = zap.New(core)
	return cfg, logs
}

func open(t *testing.T, cfg tlsfiles.Config) *tlsfiles.Files {
	t.Helper()
	f, err := tlsfiles.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAServerIsCheckedByItsClients(t *testing.T) {
	t.Parallel()
	dir, ours, other := t.TempDir(), tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	address := serve(t, open(t, tlsfiles.Config{Name: "test", Cert: cert, Key: key}).Server("h2", "http/1.1"))

	state, err := call(t, address, open(t, tlsfiles.Config{Name: "client", CA: ours.Write(t, dir, "ca.pem")}).Client())
	if err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("our client: %v, version %x", err, state.Version)
	}
	if _, err := call(t, address, open(t, tlsfiles.Config{Name: "client", CA: other.Write(t, dir, "other.pem")}).Client()); err == nil {
		t.Error("a server of another authority is taken")
	}
	state, err = call(t, address, &tls.Config{RootCAs: ours.Pool(), MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("TLS 1.2: %v, %q", err, state.NegotiatedProtocol)
	}
	if _, err := call(t, address, &tls.Config{RootCAs: ours.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestClientsNeedACertificateOfTheAuthority(t *testing.T) {
	t.Parallel()
	dir, servers, clients := t.TempDir(), tlstest.New(t), tlstest.New(t)
	cert, key := servers.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	server := open(t, tlsfiles.Config{Name: "test", Cert: cert, Key: key, CA: clients.Write(t, dir, "clients.pem")})
	address := serve(t, server.Server())
	good := clients.Issue(t, tlstest.Cert{Name: "alice"})
	for name, c := range map[string]struct {
		pair  *tlstest.Pair
		taken bool
	}{
		"of the authority": {&good, true},
		"none":             {nil, false},
		"of another":       {ptr(servers.Issue(t, tlstest.Cert{Name: "alice"})), false},
		"expired":          {ptr(clients.Issue(t, tlstest.Cert{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})), false},
	} {
		config := &tls.Config{RootCAs: servers.Pool(), MinVersion: tls.VersionTLS12}
		if c.pair != nil {
			// Sent whatever authorities the server asks for, as an attacker would.
			pair := c.pair.TLS(t)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		if _, err := call(t, address, config); (err == nil) != c.taken {
			t.Errorf("a certificate that is %s: %v", name, err)
		}
	}
	// A client of ours presents what its files say.
	cert, key = good.Write(t, dir, "alice")
	client := open(t, tlsfiles.Config{Name: "client", Cert: cert, Key: key, CA: servers.Write(t, dir, "servers.pem")})
	if _, err := call(t, address, client.Client()); err != nil {
		t.Error(err)
	}
	// An authority that is replaced lets its clients in no more, also by a session of before.
	sessions := client.Client()
	sessions.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if _, err := call(t, address, sessions); err != nil {
		t.Fatal(err)
	}
	servers.Write(t, dir, "clients.pem")
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, address, sessions); err == nil {
		t.Error("a client of the former authority is let in")
	}
}

func TestNewFilesAreReadAndBrokenOnesAreNot(t *testing.T) {
	t.Parallel()
	dir, ours := t.TempDir(), tlstest.New(t)
	first, second := ours.Issue(t, tlstest.Cert{Name: "first"}), ours.Issue(t, tlstest.Cert{Name: "second"})
	cert, key := first.Write(t, dir, "server")
	cfg, logs := watched(tlsfiles.Config{Name: "HTTP", Cert: cert, Key: key, Every: time.Millisecond})
	files := open(t, cfg)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- files.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	address := serve(t, files.Server())
	served := func() string {
		t.Helper()
		state, err := call(t, address, &tls.Config{RootCAs: ours.Pool(), MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "first" {
		t.Fatalf("served %s", got)
	}
	// Half of a new pair is no pair.
	if err := os.WriteFile(cert, second.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the broken pair shows", func() error {
		if files.Status().Err == nil {
			return errors.New("no error")
		}
		return nil
	})
	if got := served(); got != "first" {
		t.Errorf("half a pair: served %s", got)
	}
	if n := logs.FilterMessageSnippet("stay in force").Len(); n != 1 {
		t.Errorf("the broken pair was logged %d times", n)
	}
	second.Write(t, dir, "server")
	testwait.Poll(t, "the new pair is served", func() error {
		if got := served(); got != "second" {
			return errors.New("served " + got)
		}
		return nil
	})
	if s := files.Status(); s.Err != nil || s.Subject != "CN=second" {
		t.Errorf("status: %+v", s)
	}
	for what, spoil := range map[string]func() error{
		"removed":  func() error { return os.Remove(key) },
		"empty":    func() error { return os.WriteFile(key, nil, 0o600) },
		"too long": func() error { return os.WriteFile(key, make([]byte, 2<<20), 0o600) },
		"expired": func() error {
			ours.Issue(t, tlstest.Cert{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}).Write(t, dir, "server")
			return nil
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := files.Reload(); err == nil {
			t.Errorf("%s: no error", what)
		}
		if got := served(); got != "second" {
			t.Errorf("%s: served %s", what, got)
		}
	}
}

func TestExpiryIsWarnedOfOnceADay(t *testing.T) {
	t.Parallel()
	dir, ours := t.TempDir(), tlstest.New(t)
	expires := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
	cert, key := ours.Issue(t, tlstest.Cert{NotAfter: expires}).Write(t, dir, "server")
	var mu sync.Mutex
	now := expires.Add(-15 * 24 * time.Hour)
	passed := make(chan struct{}, 1)
	cfg, logs := watched(tlsfiles.Config{Name: "gRPC", Cert: cert, Key: key, Every: time.Millisecond, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		select {
		case passed <- struct{}{}:
		default:
		}
		return now
	}})
	files := open(t, cfg)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- files.Run(ctx) }()
	look := func(at time.Time) int {
		mu.Lock()
		now = at
		mu.Unlock()
		for range 5 { // of which all but the first see the new time
			<-passed
		}
		return logs.FilterLevelExact(zap.WarnLevel).Len()
	}
	if n := look(expires.Add(-15 * 24 * time.Hour)); n != 0 {
		t.Errorf("15 days before: %d warnings", n)
	}
	if n := look(expires.Add(-14 * 24 * time.Hour)); n != 1 {
		t.Errorf("14 days before: %d warnings", n)
	}
	if n := look(expires.Add(-13*24*time.Hour - time.Minute)); n != 1 {
		t.Errorf("less than a day later: %d warnings", n)
	}
	if n := look(expires.Add(time.Hour)); n != 2 {
		t.Errorf("expired: %d warnings", n)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if last := logs.All()[logs.Len()-1].Message; !strings.Contains(last, "has expired") {
		t.Errorf("last warning: %s", last)
	}
	if s := files.Status(); !s.Expires.Equal(expires) {
		t.Errorf("expires %s, not %s", s.Expires, expires)
	}
}

func TestWhatCannotBeUsedIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	dir, ours := t.TempDir(), tlstest.New(t)
	pair := ours.Issue(t, tlstest.Cert{})
	cert, key := pair.Write(t, dir, "server")
	_, other := ours.Issue(t, tlstest.Cert{}).Write(t, dir, "other")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		cfg  tlsfiles.Config
		want string
	}{
		{tlsfiles.Config{Cert: cert}, "name both files"},
		{tlsfiles.Config{Key: key}, "name both files"},
		{tlsfiles.Config{Cert: cert, Key: other}, "are no pair"},
		{tlsfiles.Config{Cert: key, Key: cert}, "are no pair"},
		{tlsfiles.Config{Cert: cert, Key: filepath.Join(dir, "absent")}, "no such file"},
		{tlsfiles.Config{Cert: cert, Key: dir}, "not a regular file"},
		{tlsfiles.Config{Cert: cert, Key: file("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")}, "is encrypted"},
		{tlsfiles.Config{Cert: cert, Key: key, CA: file("none.pem", "")}, "no certificate"},
		{tlsfiles.Config{CA: key}, "leave the certificates"},
		{tlsfiles.Config{CA: file("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "certificate 1 cannot be read"},
	} {
		c.cfg.Name = "HTTP"
		_, err := tlsfiles.Open(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "TLS of HTTP: ") {
			t.Errorf("%+v: %v, not %q", c.cfg, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.Split(string(pair.Key), "\n")[1]) {
			t.Errorf("%v has a part of the key", err)
		}
	}
}

func ptr[T any](v T) *T { return &v }
