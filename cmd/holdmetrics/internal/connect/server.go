package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/internal/tlsfiles"
)

// defaultServer is where serve listens by default.
const defaultServer = "127.0.0.1:60051"

// The flags of a command that calls a server, and their variables.
const (
	FlagServer    = "server"
	FlagProfile   = "profile"
	FlagCA        = "tls-ca"
	FlagCert      = "tls-cert"
	FlagKey       = "tls-key"
	FlagTokenFile = "token-file"
	FlagInsecure  = "insecure"

	envToken = "HOLDMETRICS_TOKEN"
)

// variables maps the flags to their variables. They have a prefix, since those without
// are settings of servers.
var variables = map[string]string{
	FlagServer:    "HOLDMETRICS_SERVER",
	FlagProfile:   "HOLDMETRICS_PROFILE",
	FlagCA:        "HOLDMETRICS_TLS_CA",
	FlagCert:      "HOLDMETRICS_TLS_CERT",
	FlagKey:       "HOLDMETRICS_TLS_KEY",
	FlagTokenFile: "HOLDMETRICS_TOKEN_FILE",
	FlagInsecure:  "HOLDMETRICS_INSECURE",
}

// Server is the server that a command calls: where it is, by which authority it is
// known, and how the command shows who it is. Flags beat the environment, which beats
// the profile.
type Server struct {
	c     *cobra.Command // nil: of a test, with an address alone
	found *Profile       // once it was looked for
}

// ServerFlags gives a command the flags for the server that it calls.
func ServerFlags(c *cobra.Command) *Server {
	f := c.Flags()
	s := ProfileFlag(c)
	f.String(FlagServer, "", "the server's gRPC `address` (HOLDMETRICS_SERVER; default: that of the profile, or "+defaultServer+")")
	f.String(FlagCA, "", "PEM `file` of the authorities that the server is known by (HOLDMETRICS_TLS_CA; default: the system's)")
	f.String(FlagCert, "", "PEM `file` of a certificate for mutual TLS (HOLDMETRICS_TLS_CERT)")
	f.String(FlagKey, "", "PEM `file` of the certificate's key (HOLDMETRICS_TLS_KEY)")
	f.String(FlagTokenFile, "", "`file` of a key or token to call with (HOLDMETRICS_TOKEN_FILE, or the token itself in HOLDMETRICS_TOKEN)")
	f.Bool(FlagInsecure, false, "call a server of another machine without TLS; it, and all between, see the token (HOLDMETRICS_INSECURE)")
	return s
}

// ProfileFlag gives a command the flag for a profile alone.
func ProfileFlag(c *cobra.Command) *Server {
	c.Flags().String(FlagProfile, "", "`name` of what 'holdmetrics login' has kept (HOLDMETRICS_PROFILE; default "+DefaultProfile+")")
	return &Server{c: c}
}

// Of returns a server that is called by a profile.
func Of(p *Profile) *Server { return &Server{found: p} }

// At returns a server that is called without TLS and token.
func At(address string) *Server { return Of(&Profile{Server: address, Insecure: true}) }

// Dial opens a connection; that nobody answers shows with the first call, and that the
// server has fallen silent ends a call after half a minute.
func Dial(address string) (*grpc.ClientConn, error) { return At(address).Dial() }

// Profile returns what the command calls the server with.
func (s *Server) Profile() (*Profile, error) {
	if s.found != nil {
		return s.found, nil
	}
	p, err := s.look()
	if err == nil {
		s.found = p
	}
	return p, err
}

// value returns the value of a flag, or else of its variable.
func (s *Server) value(flag string) string {
	if f := s.c.Flags().Lookup(flag); f != nil && f.Changed {
		return f.Value.String()
	}
	return settings.EnvironmentOf(s.c)(variables[flag])
}

// Name returns the name of the profile that flags or the environment name, or the default.
func (s *Server) Name() string { return cmp.Or(s.value(FlagProfile), DefaultProfile) }

// Given returns what flags and the environment give, without any profile.
func (s *Server) Given() (*Profile, error) { return s.complete(&Profiles{}, "") }

// look puts together flags, environment and profile.
func (s *Server) look() (*Profile, error) {
	kept, err := ReadProfiles(s.c)
	if err != nil {
		return nil, err
	}
	name := s.value(FlagProfile)
	if _, known := kept.Profiles[name]; name != "" && !known {
		return nil, usage.Errorf("there is no profile %q in %s: 'holdmetrics login --profile %s' makes it, 'holdmetrics profiles' lists them", name, kept.path, name)
	}
	return s.complete(kept, name)
}

// complete puts together flags, environment and the profile that is named, or else the
// default one.
func (s *Server) complete(kept *Profiles, name string) (*Profile, error) {
	p := &Profile{Server: s.value(FlagServer), CA: s.value(FlagCA), Cert: s.value(FlagCert), Key: s.value(FlagKey)}
	switch text := s.value(FlagInsecure); text {
	case "", "0", "false":
	case "1", "true":
		p.Insecure = true
	default:
		return nil, usage.Errorf("--%s or %s: %q is neither true nor false", FlagInsecure, variables[FlagInsecure], text)
	}
	of, known := kept.Profiles[cmp.Or(name, DefaultProfile)]
	// A key is for the server that it was kept for. Another one gets it only on request,
	// and a request is a flag: anyone may write a file of variables.
	same := p.Server == "" || p.Server == of.Server
	asked := name != "" && s.c.Flags().Changed(FlagProfile)
	if name != "" && !same && !asked {
		return nil, usage.Errorf("the profile %s is for %s, and not for %s: give --%s %s to call that with its key", name, of.Server, p.Server, FlagProfile, name)
	}
	if known && (same || asked) {
		if p.CA == "" && p.Cert == "" && p.Key == "" {
			p.CA, p.Cert, p.Key = of.CA, of.Cert, of.Key
		}
		p.Token, p.Insecure = of.Token, p.Insecure || of.Insecure && p.CA == "" && p.Cert == ""
		p.Server = cmp.Or(p.Server, of.Server)
	}
	p.Server = cmp.Or(p.Server, defaultServer)
	if (p.Cert == "") != (p.Key == "") {
		return nil, usage.Errorf("--%s and --%s go together: name both files", FlagCert, FlagKey)
	}
	if token, given, err := s.token(); err != nil {
		return nil, err
	} else if given {
		p.Token = token
	}
	if p.Insecure && (p.CA != "" || p.Cert != "") {
		return nil, usage.Errorf("--%s is without TLS, and --%s and --%s are of TLS: leave out the one or the others", FlagInsecure, FlagCA, FlagCert)
	}
	return p, nil
}

// token returns the token that flags or the environment give.
func (s *Server) token() (token string, given bool, err error) {
	getenv := settings.EnvironmentOf(s.c)
	path, text := "", getenv(envToken)
	if f := s.c.Flags().Lookup(FlagTokenFile); f != nil && f.Changed {
		path, text = f.Value.String(), "" // a flag beats both variables
	} else if path = getenv(variables[FlagTokenFile]); path != "" && text != "" {
		return "", false, usage.Errorf("%s and %s are both set: set one of them", envToken, variables[FlagTokenFile])
	}
	switch {
	case path != "":
		if token, err = ReadTokenFile(path); err != nil {
			return "", false, err
		}
	case text != "":
		if token, err = CheckToken(text); err != nil {
			return "", false, usage.Errorf("%s: %w", envToken, err)
		}
	default:
		return "", false, nil
	}
	return token, true, nil
}

// mostToken is how long a token may be. Servers take headers of 64 KiB.
const mostToken = 32 << 10

// ReadTokenFile reads a token from a file.
func ReadTokenFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usage.Errorf("the token cannot be read: %w", err)
	}
	token, err := CheckToken(string(text))
	if err != nil {
		return "", usage.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// CheckToken returns a token without the white space around it. Its errors do not quote
// the token.
func CheckToken(text string) (string, error) {
	token := strings.TrimSpace(text)
	switch {
	case token == "":
		return "", errors.New("there is no token in it")
	case len(token) > mostToken:
		return "", fmt.Errorf("it has %d bytes, and a token at most %d", len(token), mostToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("it is no token: a token is one word of printable ASCII characters")
	}
	return token, nil
}

// Dial opens a connection; that nobody answers shows with the first call, and that the
// server has fallen silent ends a call after half a minute. Beyond this machine it
// speaks TLS, unless the command is insecure on purpose.
func (s *Server) Dial() (*grpc.ClientConn, error) {
	p, err := s.Profile()
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if p.HasTLS() {
		config, err := p.tls()
		if err != nil {
			return nil, usage.Wrap(err)
		}
		creds = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds), keepAlive}
	if p.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{p.Token, p.HasTLS()}))
	}
	conn, err := grpc.NewClient(p.Server, options...)
	if err != nil {
		return nil, usage.Errorf("--%s %q: %w", FlagServer, p.Server, err)
	}
	return conn, nil
}

// HasTLS reports whether a server is called over TLS: it is on another machine, or
// there are files of TLS for it.
func (p *Profile) HasTLS() bool {
	return p.CA != "" || p.Cert != "" || !p.Insecure && !onThisMachine(p.Server)
}

// tls returns how the server is called over TLS.
func (p *Profile) tls() (*tls.Config, error) {
	if p.CA == "" && p.Cert == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Config{Name: "the connection to " + p.Server, Cert: p.Cert, Key: p.Key, CA: p.CA})
	if err != nil {
		return nil, err
	}
	return files.Client(), nil
}

// onThisMachine reports whether an address is one of loopback.
func onThisMachine(address string) bool {
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "unix-abstract:") {
		return true
	}
	for _, scheme := range []string{"dns:///", "passthrough:///"} {
		address = strings.TrimPrefix(address, scheme)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bearer sends a token with every call.
type bearer struct {
	token  string
	secure bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Without TLS the
// server is on this machine, or the command is insecure on purpose.
func (b bearer) RequireTransportSecurity() bool { return b.secure }

// ErrDisconnected says that the server is not there, or no more.
var ErrDisconnected = errors.New("no connection to the server")

// Error says in words what a call came to.
func (s *Server) Error(err error) error {
	if s.found == nil { // it was never called
		return err
	}
	p := s.found
	answer, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch text := answer.Message(); answer.Code() {
	case codes.OK:
		return nil
	case codes.Unavailable:
		hint := "start one with 'holdmetrics serve', or name it with --server"
		switch {
		case strings.Contains(text, "first record does not look like a TLS handshake"):
			hint = "it does not speak TLS; --insecure calls it without"
		case strings.Contains(text, "certificate signed by unknown authority"):
			hint = "name the authority of its certificate with --tls-ca"
		case strings.Contains(text, "certificate required"):
			hint = "it asks for a certificate; give --tls-cert and --tls-key"
		case p.HasTLS() && p.Cert == "" && (strings.Contains(text, "broken pipe") || strings.Contains(text, "connection reset")):
			// A server of TLS 1.3 refuses after the handshake, and its word may come too late.
			hint = "perhaps it asks for a certificate; give --tls-cert and --tls-key"
		case strings.Contains(text, "x509: "), strings.Contains(text, "remote error: tls"):
			hint = "the certificates do not fit"
		case !p.HasTLS() && strings.Contains(text, "error reading server preface"):
			hint = "it may speak TLS; name the authority of its certificate with --tls-ca"
		}
		return fmt.Errorf("%w at %s; %s (%s)", ErrDisconnected, p.Server, hint, text)
	case codes.Canceled:
		return errors.New("interrupted")
	case codes.Unauthenticated:
		hint := "'holdmetrics login' keeps a key for it, or name a file with --token-file"
		if p.Token != "" {
			hint = "the key or token that was sent is not one of its own, was revoked, or has expired"
		}
		return fmt.Errorf("the server at %s wants to know who calls: %s (%s)", p.Server, hint, text)
	case codes.Unimplemented:
		return fmt.Errorf("the server at %s does not know this call; is it a holdmetrics of this version? (%s)", p.Server, text)
	}
	return errors.New(answer.Message())
}

// Address returns the address of the server, once it was called.
func (s *Server) Address() string {
	if s.found == nil {
		return ""
	}
	return s.found.Server
}
