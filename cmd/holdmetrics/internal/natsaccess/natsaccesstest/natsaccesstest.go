// Package natsaccesstest runs a NATS server with the configuration of deploy/nats.
package natsaccesstest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/tlsfiles/tlstest"
)

// Dir returns the directory deploy/nats.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "..", "deploy", "nats")
}

// Server is a server with the configuration of deploy/nats, without its cluster.
type Server struct {
	*server.Server
	URL string // tls://
	CA  string // the file with the authority of its certificate

	seeds      map[natsaccess.Role]string // files
	violations violations
}

// The user of the account of the log that may do everything, for tests that look.
const (
	all         = "all"
	allPassword = "may do everything"
)

// Start starts a server, with a user of each role.
func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	authority := tlstest.New(t)
	s := &Server{CA: authority.Write(t, dir, "ca.pem"), seeds: map[natsaccess.Role]string{}}
	authority.Issue(t, tlstest.Cert{}).Write(t, dir, "server")
	text, err := os.ReadFile(filepath.Join(Dir(), "holdmetrics.conf"))
	if err != nil {
		t.Fatal(err)
	}
	grants, err := os.ReadFile(filepath.Join(Dir(), "grants.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("/etc/nats/"), []byte(filepath.ToSlash(dir)+"/"))
	keys := "NATS_SERVER_NAME: n1\n"
	for _, role := range natsaccess.Roles() {
		public, seed := NewUser(t)
		s.seeds[role] = filepath.Join(dir, string(role)+".seed")
		write(t, s.seeds[role], seed)
		keys += fmt.Sprintf("%s_NKEY: %s\n", strings.ToUpper(string(role)), public)
	}
	write(t, filepath.Join(dir, "grants.conf"), grants)
	write(t, filepath.Join(dir, "holdmetrics.conf"), append([]byte(keys), text...))
	options, err := server.ProcessConfigFile(filepath.Join(dir, "holdmetrics.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range options.Accounts {
		if account.GetName() == natsaccess.LogAccount {
			options.Users = append(options.Users, &server.User{Username: all, Password: allPassword, Account: account})
		}
	}
	s.Server = natstest.Start(t, func(o *server.Options) {
		store := o.StoreDir
		*o = *options
		o.StoreDir, o.Host, o.Port, o.HTTPPort = store, "127.0.0.1", server.RANDOM_PORT, 0
		o.Cluster, o.Routes, o.SyncAlways = server.ClusterOpts{}, nil, false // three servers and a disk are not what is tested
		o.NoSigs, o.NoLog = true, true
	})
	s.Server.SetLogger(&s.violations, false, false)
	s.URL = s.ClientURL()
	return s
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// NewUser returns a key of a user, and its seed.
func NewUser(t testing.TB) (public string, seed []byte) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

// Seed returns the file with the seed of the user of a role.
func (s *Server) Seed(role natsaccess.Role) string { return s.seeds[role] }

// As returns the options of a connection as the user of a role.
func (s *Server) As(role natsaccess.Role) nats.Option {
	return func(o *nats.Options) error {
		user, err := nats.NkeyOptionFromSeed(s.seeds[role])
		if err != nil {
			return err
		}
		return joined(o, user, nats.RootCAs(s.CA))
	}
}

// AsAll returns the options of a connection that may do everything in the account of the
// log.
func (s *Server) AsAll() nats.Option {
	return func(o *nats.Options) error { return joined(o, nats.UserInfo(all, allPassword), nats.RootCAs(s.CA)) }
}

func joined(o *nats.Options, options ...nats.Option) error {
	for _, option := range options {
		if err := option(o); err != nil {
			return err
		}
	}
	return nil
}

// Violations returns what the server has refused.
func (s *Server) Violations() []string {
	s.violations.mu.Lock()
	defer s.violations.mu.Unlock()
	return append([]string(nil), s.violations.lines...)
}

// violations is a log of a server that keeps what was refused. It implements
// server.Logger.
type violations struct {
	mu    sync.Mutex
	lines []string
}

func (v *violations) Errorf(format string, of ...any) {
	if line := fmt.Sprintf(format, of...); strings.Contains(line, "Violation") {
		v.mu.Lock()
		v.lines = append(v.lines, line)
		v.mu.Unlock()
	}
}

func (*violations) Noticef(string, ...any) {}
func (*violations) Warnf(string, ...any)   {}
func (*violations) Fatalf(string, ...any)  {}
func (*violations) Debugf(string, ...any)  {}
func (*violations) Tracef(string, ...any)  {}
