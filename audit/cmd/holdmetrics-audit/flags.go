package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/source"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/internal/backoff"
	"holdmetrics/processor/generation"
)

// settings are flags, and variables of the environment where a flag is not given.
type settings struct {
	getenv func(string) string

	natsURL, natsCreds, natsCA                 string
	immudbURL, user, passwordFile, tokenFile   string
	database, caFile, certFile, keyFile, state string
	useTLS, first                              bool
	rulesFile, policy, generation              string
}

func (s *settings) natsFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.natsURL, "nats-url", "", "`URL` of the NATS servers, or of serve (NATS_URL; default nats://127.0.0.1:4222)")
	f.StringVar(&s.natsCreds, "nats-creds", "", "`file` of credentials for NATS: a JWT with its seed, or a seed of an nkey (NATS_CREDS; default: of a local serve that of its operator)")
	f.StringVar(&s.natsCA, "nats-ca", "", "`file` of the authority of the NATS servers (NATS_CA)")
}

func (s *settings) immudbFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.immudbURL, "immudb-url", "", "`address` of the immudb server: host, host:port or immudb://host:port/database (IMMUDB_URL)")
	f.StringVar(&s.user, "immudb-user", "", "`name` of the user (IMMUDB_USER; default immudb)")
	f.StringVar(&s.passwordFile, "immudb-password-file", "", "`file` of the password (IMMUDB_PASSWORD_FILE, or the password itself in IMMUDB_PASSWORD)")
	f.StringVar(&s.tokenFile, "immudb-token-file", "", "`file` of a token in place of user and password (IMMUDB_TOKEN_FILE, or IMMUDB_TOKEN)")
	f.StringVar(&s.database, "immudb-database", "", "`name` of the database (IMMUDB_DATABASE; default defaultdb)")
	f.BoolVar(&s.useTLS, "immudb-tls", false, "connect by TLS (IMMUDB_TLS=true)")
	f.StringVar(&s.caFile, "immudb-ca", "", "`file` of the authority of the server; means TLS (IMMUDB_CA)")
	f.StringVar(&s.certFile, "immudb-cert", "", "`file` of the client's own certificate (IMMUDB_CERT)")
	f.StringVar(&s.keyFile, "immudb-key", "", "`file` of its key (IMMUDB_KEY)")
	f.StringVar(&s.state, "state", "", "`file` that remembers what immudb had; keep it from the operator of immudb (AUDIT_STATE)")
	f.BoolVar(&s.first, "first", false, "believe the server once: there was no state file before")
}

func (s *settings) rulesFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.generation, "generation", "", "count by the rules of this `generation` (default: the active one)")
	f.StringVar(&s.rulesFile, "rules", "", "count by this rules `file` instead")
	f.StringVar(&s.policy, "policy", "", "count by this `policy` alone: merge or sum")
}

// or returns a flag, or a variable where the flag is empty.
func (s *settings) or(flag string, names ...string) string {
	for _, name := range names {
		if flag == "" {
			flag = s.getenv(name)
		}
	}
	return flag
}

// secret reads a secret from a file, or from a variable. Its errors do not have it.
func (s *settings) secret(file, fileName, name string) (string, error) {
	if file = s.or(file, fileName); file == "" {
		return s.getenv(name), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// connect connects to NATS until f returns. A server that is away is waited for if w waits.
func (s *settings) connect(ctx context.Context, w waiting, f func(jetstream.JetStream) error) error {
	address := s.or(s.natsURL, "NATS_URL")
	if address == "" {
		address = nats.DefaultURL
	}
	closed := make(chan struct{})
	options := []nats.Option{
		nats.Name("holdmetrics-audit"), nats.MaxReconnects(-1), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // every call says what came of it
	}
	as, err := s.natsUser(address)
	if err != nil {
		return err
	}
	options = append(options, as...)
	if ca := s.or(s.natsCA, "NATS_CA"); ca != "" {
		options = append(options, nats.RootCAs(ca))
	}
	conn, err := patiently(ctx, w, "NATS", source.Away, func() (*nats.Conn, error) { return nats.Connect(address, options...) })
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) { // which has the URL, and with it the password
			err = at.Err
		}
		return fmt.Errorf("no connection to NATS: name the servers with --nats-url: %w", err)
	}
	defer func() {
		conn.Close()
		<-closed
	}()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	return f(js)
}

// operatorSeed is where serve keeps the key of its operator, in its data directory.
var operatorSeed = filepath.Join("nats-users", "operator.seed")

// natsUser returns the user of NATS: of the credentials that are named, or of a serve of
// this machine the operator, if its key can be read.
func (s *settings) natsUser(address string) ([]nats.Option, error) {
	creds := s.or(s.natsCreds, "NATS_CREDS")
	if u, err := url.Parse(address); creds == "" && err == nil && u.User == nil {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			seed := filepath.Join(cmp.Or(s.getenv("DATA_DIR"), "data"), operatorSeed)
			if _, err := os.ReadFile(seed); err == nil {
				creds = seed
			}
		}
	}
	if creds == "" {
		return nil, nil
	}
	text, err := os.ReadFile(creds)
	if err != nil {
		return nil, fmt.Errorf("--nats-creds: %w", err)
	}
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "SU") {
		return []nats.Option{nats.UserCredentials(creds)}, nil
	}
	seed, err := nats.NkeyOptionFromSeed(creds)
	if err != nil {
		return nil, fmt.Errorf("--nats-creds: %s is not a seed of an nkey", creds)
	}
	return []nats.Option{seed}, nil
}

// immudb returns the configuration of immudb; nil if no server is named.
func (s *settings) immudb() (*immu.Config, error) {
	address := s.or(s.immudbURL, "IMMUDB_URL")
	if address == "" {
		return nil, nil
	}
	cfg := &immu.Config{User: s.or(s.user, "IMMUDB_USER"), StateFile: s.or(s.state, "AUDIT_STATE"), First: s.first}
	var err error
	if cfg.Address, cfg.Database, err = s.place(address, cfg); err != nil {
		return nil, err
	}
	if database := s.or(s.database, "IMMUDB_DATABASE"); database != "" {
		cfg.Database = database
	}
	if cfg.Token, err = s.secret(s.tokenFile, "IMMUDB_TOKEN_FILE", "IMMUDB_TOKEN"); err != nil {
		return nil, fmt.Errorf("--immudb-token-file: %w", err)
	}
	password, err := s.secret(s.passwordFile, "IMMUDB_PASSWORD_FILE", "IMMUDB_PASSWORD")
	if err != nil {
		return nil, fmt.Errorf("--immudb-password-file: %w", err)
	}
	if password != "" {
		cfg.Password = password
	}
	if cfg.User == "" {
		cfg.User = "immudb"
	}
	if cfg.StateFile == "" {
		return nil, errors.New("--state is required: name the file that remembers what immudb had")
	}
	if cfg.TLS, err = s.tls(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// place reads the address of the server. Its errors do not quote it: it may have a
// password.
func (s *settings) place(address string, cfg *immu.Config) (host, database string, err error) {
	if !strings.Contains(address, "://") {
		address = "immudb://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "immudb" && u.Scheme != "grpc" && u.Scheme != "http" {
		return "", "", errors.New("--immudb-url or IMMUDB_URL is not HOST:PORT or immudb://HOST:PORT/DATABASE (the value is not shown, as it may have a password in it)")
	}
	if u.User != nil {
		cfg.Password, _ = u.User.Password()
		if cfg.User == "" {
			cfg.User = u.User.Username()
		}
	}
	host = u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), immu.DefaultPort)
	}
	return host, strings.Trim(u.Path, "/"), nil
}

func (s *settings) tls() (*tls.Config, error) {
	ca, cert, key := s.or(s.caFile, "IMMUDB_CA"), s.or(s.certFile, "IMMUDB_CERT"), s.or(s.keyFile, "IMMUDB_KEY")
	if !s.useTLS && s.getenv("IMMUDB_TLS") != "true" && ca == "" && cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--immudb-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--immudb-ca: %s has no certificate", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--immudb-cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// rules returns the rules that count, and the generation that they are of; js may be nil.
func (s *settings) rules(ctx context.Context, js jetstream.JetStream) (by hold.Rules, of string, err error) {
	switch {
	case s.rulesFile != "" && s.policy != "":
		return nil, "", errors.New("--rules and --policy are both given; a rules file has its own policy")
	case s.rulesFile != "":
		text, err := os.ReadFile(s.rulesFile)
		if err != nil {
			return nil, "", err
		}
		r, err := rules.Parse(s.rulesFile, text)
		if err != nil {
			return nil, "", err
		}
		return r, "", nil
	case s.policy != "" || js == nil:
		policy := hold.Merge
		if s.policy != "" {
			if policy, err = hold.ParsePolicy(s.policy); err != nil {
				return nil, "", fmt.Errorf("--policy: %w", err)
			}
		}
		return hold.PlainRules(policy), "", nil
	}
	registry, err := generation.Find(ctx, js)
	if err != nil {
		return nil, "", err
	}
	if of = s.generation; of == "" {
		active, err := registry.Active(ctx)
		if errors.Is(err, generation.ErrUnknown) {
			return nil, "", fmt.Errorf("no generation is active yet, so no rules count: start a worker or serve, or give --policy or --rules: %w", err)
		}
		if err != nil {
			return nil, "", err
		}
		of = active.Generation
	}
	record, err := registry.Get(ctx, of)
	if err != nil {
		return nil, "", err
	}
	by, err = record.ParseRules()
	return by, of, err
}

// waiting says how to wait for a server that is away: nil logger: not at all.
type waiting struct{ log *zap.Logger }

// patiently does something again while its server is away.
func patiently[T any](ctx context.Context, w waiting, what string, away func(error) bool, do func() (T, error)) (T, error) {
	pauses := backoff.Backoff{First: 200 * time.Millisecond, Most: 10 * time.Second}
	for tries := 0; ; tries++ {
		got, err := do()
		if w.log == nil || !away(err) {
			return got, err
		}
		if tries == 0 {
			w.log.Warn(what+" is away; waiting", zap.Error(err))
		}
		if err := pauses.Wait(ctx); err != nil {
			return got, err
		}
	}
}

// openWithin bounds the opening of the log: a server that refuses a user does not answer.
const openWithin = 10 * time.Second

// openLog opens the log of a connection.
func openLog(ctx context.Context, js jetstream.JetStream) (*source.Live, error) {
	within, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	log, err := source.OpenLive(within, js)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: a server with users wants --nats-creds; of serve that is DATA_DIR/%s", err, operatorSeed)
	}
	return log, err
}
