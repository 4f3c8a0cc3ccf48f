package settings

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// NATS is how a process or a command connects to NATS.
type NATS struct {
	URL      string // as it is dialled
	Creds    string // file of credentials: a JWT with its seed, or a seed of an nkey
	User     string
	Password string
	Token    string
	CA       string // PEM files; empty: those of the system, and no certificate
	Cert     string
	Key      string
}

// The keys of these settings.
const (
	KeyNATSCreds    = "nats-creds"
	keyNATSUser     = "nats-user"
	keyNATSPassword = "nats-password"
	keyNATSToken    = "nats-token"
	keyNATSCA       = "nats-tls-ca"
	keyNATSCert     = "nats-tls-cert"
	keyNATSKey      = "nats-tls-key"
)

// DefaultNATSURL is where serve has NATS by default.
const DefaultNATSURL = "nats://127.0.0.1:4222"

// natsFlags adds the flags for who a process is to NATS.
func natsFlags(f *pflag.FlagSet) {
	f.String(KeyNATSCreds, "", "`file` of credentials for NATS: a JWT with its seed, or a seed of an nkey (NATS_CREDS)")
	f.String(keyNATSUser, "", "`name` of the user of NATS (NATS_USER)")
	f.String(keyNATSPassword, "", "`password` of the user of NATS, by the environment or a file alone (NATS_PASSWORD)")
	f.String(keyNATSToken, "", "`token` for NATS, by the environment or a file alone (NATS_TOKEN)")
	f.String(keyNATSCA, "", "PEM `file` of the authorities that NATS servers are known by; read again for each connection (NATS_TLS_CA; default: those of the system)")
	f.String(keyNATSCert, "", "PEM `file` of the certificate for NATS; read again for each connection (NATS_TLS_CERT)")
	f.String(keyNATSKey, "", "PEM `file` of the key of that certificate (NATS_TLS_KEY)")
}

// check returns an error, with the setting, unless the settings go together.
func (n *NATS) check() (key string, err error) {
	ways := 0
	for _, way := range []string{n.Creds, n.User, n.Token} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return KeyNATSCreds, errors.New("a connection has one of a file of credentials, a user with a password, and a token: leave the others out")
	case n.Password != "" && n.User == "":
		return keyNATSUser, errors.New("is empty, and there is a password of it")
	case (n.Cert == "") != (n.Key == ""):
		return keyNATSCert, errors.New("a certificate and its key are given together")
	}
	for _, file := range []struct{ key, path string }{{KeyNATSCreds, n.Creds}, {keyNATSCA, n.CA}, {keyNATSCert, n.Cert}, {keyNATSKey, n.Key}} {
		if file.path == "" {
			continue
		}
		f, err := os.Open(file.path)
		if err != nil {
			return file.key, fmt.Errorf("the file cannot be read: %w", err)
		}
		_ = f.Close() // nothing was read
	}
	return "", nil
}

// NATSOf returns how a command connects to NATS, by its flags and its environment.
func NATSOf(c *cobra.Command) (NATS, error) {
	getenv := EnvironmentOf(c)
	var failed error
	value := func(key, name string) string {
		if f := c.Flags().Lookup(key); f != nil && f.Changed {
			return f.Value.String()
		}
		text, _, err := withFile(getenv, name)
		if failed == nil && err != nil {
			failed = err
		}
		return text
	}
	n := NATS{
		URL: value(KeyNATSURL, "NATS_URL"), Creds: value(KeyNATSCreds, "NATS_CREDS"), User: value(keyNATSUser, "NATS_USER"),
		Password: value(keyNATSPassword, "NATS_PASSWORD"), Token: value(keyNATSToken, "NATS_TOKEN"),
		CA: value(keyNATSCA, "NATS_TLS_CA"), Cert: value(keyNATSCert, "NATS_TLS_CERT"), Key: value(keyNATSKey, "NATS_TLS_KEY"),
	}
	if failed != nil {
		return n, failed
	}
	if n.URL == "" {
		n.URL = DefaultNATSURL
	}
	var err error
	if n.URL, err = NATSServers(n.URL); err != nil {
		return n, usage.Errorf("%s: %w", Describe(KeyNATSURL), err)
	}
	if key, err := n.check(); err != nil {
		return n, usage.Errorf("%s: %w", Describe(key), err)
	}
	return n, nil
}
