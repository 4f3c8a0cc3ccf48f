package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/internal/tlsfiles"
	"holdmetrics/internal/tlsfiles/tlstest"
	holdpb "holdmetrics/proto"
)

// serverOf returns the server of a command with flags and an environment.
func serverOf(t *testing.T, env map[string]string, args ...string) *Server {
	t.Helper()
	c := &cobra.Command{}
	c.SetContext(settings.WithEnvironment(t.Context(), func(name string) string { return env[name] }))
	s := ServerFlags(c)
	if err := c.Flags().Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsBeatTheEnvironmentWhichBeatsTheProfile(t *testing.T) {
	t.Parallel()
	kept := write(t, "profiles.yaml", `profiles:
  default: {server: "hold.example.com:60051", tls-ca: /ca.pem, token: of-default}
  local: {server: "127.0.0.1:1", token: of-local}
  open: {server: "10.0.0.7:1", insecure: true}
`)
	flag := write(t, "token", " of-flag\n")
	for _, c := range []struct {
		name, args string
		env        map[string]string
		want       string // server, CA, token, TLS; or a part of the error after "!"
	}{
		{"nothing", "", map[string]string{"HOLDMETRICS_PROFILES": ""}, "127.0.0.1:60051   false"},
		{"the default profile", "", nil, "hold.example.com:60051 /ca.pem of-default true"},
		{"a profile by flag", "--profile local", nil, "127.0.0.1:1  of-local false"},
		{"a profile by variable", "", map[string]string{"HOLDMETRICS_PROFILE": "open"}, "10.0.0.7:1   false"},
		{"an unknown profile", "--profile none", nil, `!there is no profile "none"`},
		{"another server gets no key", "--server 10.0.0.1:1", nil, "10.0.0.1:1   true"},
		{"the server of the profile gets it", "--server hold.example.com:60051", nil, "hold.example.com:60051 /ca.pem of-default true"},
		{"another server gets it on request", "--server localhost:1 --profile local", nil, "localhost:1  of-local false"},
		{"and not by variables", "", map[string]string{"HOLDMETRICS_PROFILE": "local", "HOLDMETRICS_SERVER": "evil.example.com:1"}, "!the profile local is for 127.0.0.1:1"},
		{"a server by variable", "", map[string]string{"HOLDMETRICS_SERVER": "[::1]:7"}, "[::1]:7   false"},
		{"a token by variable", "--profile local", map[string]string{"HOLDMETRICS_TOKEN": "of-env"}, "127.0.0.1:1  of-env false"},
		{"a token by file beats it", "--profile local --token-file " + flag, map[string]string{"HOLDMETRICS_TOKEN": "of-env"}, "127.0.0.1:1  of-flag false"},
		{"both variables", "", map[string]string{"HOLDMETRICS_TOKEN": "secret", "HOLDMETRICS_TOKEN_FILE": flag}, "!both set"},
		{"a token that is none", "", map[string]string{"HOLDMETRICS_TOKEN": "secret word"}, "!one word"},
		{"an absent file", "--token-file /no/such", nil, "!cannot be read"},
		{"half a pair", "--server localhost:1 --tls-cert c", nil, "!go together"},
		{"TLS on this machine", "--server localhost:1 --tls-ca ca", nil, "localhost:1 ca  true"},
		{"insecure", "--server 10.0.0.1:1 --insecure", nil, "10.0.0.1:1   false"},
		{"insecure and TLS", "--server 10.0.0.1:1 --insecure --tls-ca ca", nil, "!is without TLS"},
		{"insecure by variable", "--server 10.0.0.1:1", map[string]string{"HOLDMETRICS_INSECURE": "maybe"}, "!neither true nor false"},
	} {
		env := map[string]string{"HOLDMETRICS_PROFILES": kept}
		for name, value := range c.env {
			env[name] = value
		}
		p, err := serverOf(t, env, strings.Fields(c.args)...).Profile()
		got := fmt.Sprint("!", err)
		if err == nil {
			got = fmt.Sprintf("%s %s %s %t", p.Server, p.CA, p.Token, p.HasTLS())
		}
		wrong, fails := strings.CutPrefix(c.want, "!")
		if fails != (err != nil) || fails && !strings.Contains(got, wrong) || !fails && got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if err != nil && (strings.Contains(got, "secret") || !errors.As(err, new(usage.Error))) {
			t.Errorf("%s: %v has the token in it, or is no error of usage", c.name, err)
		}
	}
}

func TestProfilesAreForTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	c := serverOf(t, map[string]string{"HOME": t.TempDir()}).c
	p, err := ReadProfiles(c)
	if err != nil || len(p.Profiles) != 0 {
		t.Fatal(p, err)
	}
	p.Profiles["a"] = Profile{Server: "h:1", Token: "sesame"}
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := ReadProfiles(c)
	if err != nil || again.Profiles["a"] != p.Profiles["a"] {
		t.Errorf("%+v, %v", again, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	info, err := os.Stat(p.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(p.Path(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadProfiles(c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others may read it: %v", err)
	}
	for _, text := range []string{"profiles: {a: {token: [sesame]}}", "sesame", "profiles: {a: {sesame: b}}", ""} {
		if err := os.WriteFile(p.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p.Path(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadProfiles(c); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// seen is a server that notes the authorization of its calls.
type seen struct {
	holdpb.UnimplementedHoldMetricsQueryServer
	tokens chan string
}

func (s *seen) HealthCheck(ctx context.Context, _ *holdpb.Empty) (*holdpb.HoldAck, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	token := strings.Join(md.Get("authorization"), ",")
	s.tokens <- token
	if token == "Bearer bad" {
		return nil, status.Error(codes.Unauthenticated, "no key")
	}
	return &holdpb.HoldAck{Ok: true}, nil
}

// serve serves gRPC until the test ends.
func serve(t *testing.T, options ...grpc.ServerOption) (*seen, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, rpc := &seen{tokens: make(chan string, 10)}, grpc.NewServer(options...)
	holdpb.RegisterHoldMetricsQueryServer(rpc, s)
	ended := make(chan error, 1)
	go func() { ended <- rpc.Serve(l) }()
	t.Cleanup(func() {
		rpc.Stop()
		<-ended
	})
	return s, l.Addr().String()
}

// call calls a server and returns the error in words.
func call(t *testing.T, s *Server) error {
	t.Helper()
	conn, err := s.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = holdpb.NewHoldMetricsQueryClient(conn).HealthCheck(t.Context(), &holdpb.Empty{})
	if err != nil {
		return s.Error(err)
	}
	return nil
}

func TestCallsOverTLSWithAToken(t *testing.T) {
	t.Parallel()
	dir, ours, other := t.TempDir(), tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	ca, wrong := ours.Write(t, dir, "ca.pem"), other.Write(t, dir, "other.pem")
	open := func(clients string) grpc.ServerOption {
		files, err := tlsfiles.Open(tlsfiles.Config{Name: "test", Cert: cert, Key: key, CA: clients})
		if err != nil {
			t.Fatal(err)
		}
		return grpc.Creds(credentials.NewTLS(files.Server("h2")))
	}
	one, address := serve(t, open(""))
	_, mutual := serve(t, open(ca))
	plain, without := serve(t)
	mine, mineKey := ours.Issue(t, tlstest.Cert{Name: "alice"}).Write(t, dir, "alice")
	for _, c := range []struct {
		name, args, token string
		want              string // a part of the error; empty: none
	}{
		{"with everything", "--server " + address + " --tls-ca " + ca, "good", ""},
		{"a key that is not known", "--server " + address + " --tls-ca " + ca, "bad", "was revoked"},
		{"another authority", "--server " + address + " --tls-ca " + wrong, "good", "name the authority"},
		{"without TLS", "--server " + address, "good", "it may speak TLS"},
		{"TLS with a server that has none", "--server " + without + " --tls-ca " + ca, "good", "it does not speak TLS"},
		{"no certificate", "--server " + mutual + " --tls-ca " + ca, "", "it asks for a certificate"},
		{"a certificate", "--server " + mutual + " --tls-ca " + ca + " --tls-cert " + mine + " --tls-key " + mineKey, "", ""},
		{"no TLS on this machine", "--server " + without, "good", ""},
	} {
		err := call(t, serverOf(t, map[string]string{"HOLDMETRICS_TOKEN": c.token}, strings.Fields(c.args)...))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, s := range []*seen{one, plain} {
		if got := <-s.tokens; got != "Bearer good" {
			t.Errorf("the server saw %q", got)
		}
	}
}
