package connect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

const (
	natsURLUsage   = "`URL` of the NATS servers, serve among them; several with commas (NATS_URL; default " + settings.DefaultNATSURL + ")"
	natsCredsUsage = "`file` of credentials for NATS (NATS_CREDS; default: the operator's of the serve on this machine)"
	dataDirUsage   = "data `directory` of the serve on this machine, for its operator's credentials (DATA_DIR)"
)

// NATSFlags gives a command, and those below it, the flags that say where NATS is, and
// who the command is to it.
func NATSFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.String(settings.KeyNATSURL, "", natsURLUsage)
	f.String(settings.KeyNATSCreds, "", natsCredsUsage)
	f.String(settings.KeyDataDir, "", dataDirUsage)
}

// NATSServerFlags are [NATSFlags] for a command whose --data-dir means something else.
func NATSServerFlags(c *cobra.Command) {
	c.Flags().String(settings.KeyNATSURL, "", natsURLUsage)
	c.Flags().String(settings.KeyNATSCreds, "", natsCredsUsage)
}

// NATS is a connection of a command.
type NATS struct {
	*nats.Conn
	Servers string // as they may be shown

	denied atomic.Pointer[error] // the first thing that the user may not do
	deny   context.CancelCauseFunc
	closed chan struct{}
}

// DialNATS connects to NATS by the flags and the environment of a command. A server that
// is not there is said at once. The context ends with the command's, or when the server
// refuses something: see Why.
func DialNATS(c *cobra.Command) (context.Context, *NATS, error) {
	settled, err := settings.NATSOf(c)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(c.Context())
	for _, found := range natsUsers(c, &settled) {
		conn := &NATS{Servers: settings.Mask(settled.URL), deny: cancel, closed: make(chan struct{})}
		as := settled
		if found != "" {
			as.Creds = found
		}
		err = conn.dial(c, &as)
		if err == nil {
			return ctx, conn, nil
		}
		// What was found, and not given, may be another server's.
		if found == "" || !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrNkeysNotSupported) {
			break
		}
	}
	cancel(nil)
	return nil, nil, err
}

// natsUsers returns the files with credentials of the operator that the command may use,
// of the server on this machine; the last is none.
func natsUsers(c *cobra.Command, n *settings.NATS) (files []string) {
	u, err := url.Parse(n.URL)
	if err != nil || n.Creds != "" || n.User != "" || n.Token != "" || u.User != nil {
		return []string{""}
	}
	host := u.Host
	if u.Port() == "" {
		host += ":4222"
	}
	port, local := natsaccess.LocalPort(host)
	dir := settings.EnvironmentOf(c)("DATA_DIR")
	if f := c.Flags().Lookup(settings.KeyDataDir); f != nil && f.Usage == dataDirUsage && f.Changed {
		dir = f.Value.String()
	}
	if local && dir == "" { // the server that runs, or else that of this directory
		if noted := natsaccess.Noted(settings.RuntimeDir(settings.EnvironmentOf(c)), port); noted != "" {
			files = append(files, noted)
		}
		dir = "data"
	}
	if seed := natsaccess.UsersOf(dir).SeedPath(); dir != "" && natsaccess.Readable(seed) {
		files = append(files, seed)
	}
	return append(files, "")
}

// dial connects as a user.
func (n *NATS) dial(c *cobra.Command, as *settings.NATS) (err error) {
	options, err := UserOptions(as)
	if err != nil {
		return err
	}
	n.Conn, err = nats.Connect(as.URL, append(options,
		nats.Name("holdmetrics "+c.Name()),
		nats.MaxReconnects(-1),
		nats.ClosedHandler(func(*nats.Conn) { close(n.closed) }),
		nats.ErrorHandler(n.note), // beside that, every call says what came of it
	)...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("no connection to NATS at %s; serve prints its address, others are named with --%s (%w)", n.Servers, settings.KeyNATSURL, err)
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("NATS at %s does not know this user: %s (%w)", n.Servers, credentialsHint, err)
	}
	return fmt.Errorf("connecting to NATS at %s: %w", n.Servers, settings.InnerError(err))
}

const credentialsHint = "name a file with credentials of an operator with --" + settings.KeyNATSCreds + " (NATS_CREDS), or the data directory of the server with --" + settings.KeyDataDir + " (DATA_DIR)"

// note takes an error that the server sent of its own accord.
func (n *NATS) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		err = fmt.Errorf("NATS at %s does not let this user do what the command needs: %s (%w)", n.Servers, credentialsHint, err)
		n.denied.CompareAndSwap(nil, &err)
		n.deny(err)
	}
}

// Why returns why a command failed: what its user may not do, or else err.
func (n *NATS) Why(err error) error {
	if denied := n.denied.Load(); err != nil && denied != nil {
		return *denied
	}
	return err
}

// Close closes the connection, and waits until it is closed.
func (n *NATS) Close() {
	n.Conn.Close()
	<-n.closed
	n.deny(nil)
}

// UserOptions returns the options of a connection that say who connects, and by which
// certificates.
func UserOptions(n *settings.NATS) (options []nats.Option, err error) {
	switch {
	case n.Creds != "":
		user, err := userOfFile(n.Creds)
		if err != nil {
			return nil, usage.Errorf("%s: %w", settings.Describe(settings.KeyNATSCreds), err)
		}
		options = append(options, user)
	case n.User != "":
		options = append(options, nats.UserInfo(n.User, n.Password))
	case n.Token != "":
		options = append(options, nats.Token(n.Token))
	}
	// Both are read for each connection, so that new files are in force with the next.
	if n.CA != "" {
		options = append(options, nats.RootCAs(n.CA))
	}
	if n.Cert != "" {
		options = append(options, nats.ClientCert(n.Cert, n.Key))
	}
	return options, nil
}

// userOfFile returns the user of a file with a JWT and its seed, or with a seed alone.
func userOfFile(path string) (nats.Option, error) {
	isJWT, err := natsaccess.HasJWT(path)
	if err != nil {
		return nil, err
	}
	if isJWT {
		return nats.UserCredentials(path), nil
	}
	public, err := natsaccess.PublicOf(path)
	if err != nil {
		return nil, err
	}
	return nats.Nkey(public, func(nonce []byte) ([]byte, error) { return natsaccess.Sign(path, nonce) }), nil
}

// WithNATS connects for as long as f takes. A server that is not there is said at once.
func WithNATS(c *cobra.Command, f func(ctx context.Context, js jetstream.JetStream) error) error {
	ctx, conn, err := DialNATS(c)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn.Conn)
	if err != nil {
		return err
	}
	return conn.Why(f(ctx, js))
}

// WithLog is withNATS for what needs the event log that is there.
func WithLog(c *cobra.Command, f func(ctx context.Context, log *ingest.Log) error) error {
	return WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		log, err := ingest.FindLog(ctx, js)
		if err != nil {
			return err
		}
		return f(ctx, log)
	})
}
