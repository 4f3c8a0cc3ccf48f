package immu

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// DefaultDatabase is the database of a server that nobody has named another one for.
	DefaultDatabase = "defaultdb"
	// DefaultPort is where immudb listens.
	DefaultPort = "3322"

	maxMessage = 64 << 20
	// stateEvery is how often the state file is written while much is written. After a
	// crash it is older, which proves as much.
	stateEvery = time.Second
)

// Config says which server to use, and as whom. Address and StateFile are required.
type Config struct {
	Address  string // host:port
	Database string // empty: DefaultDatabase
	User     string
	Password string
	Token    string      // in place of user and password
	TLS      *tls.Config // nil: no TLS

	// StateFile remembers what was verified last. Keep it from the operator of the server.
	StateFile string
	// First: there was no state file before, though the database has data. What the server
	// has now is believed, and remembered.
	First bool

	Now  func() time.Time                                // nil: the system's clock
	Dial func(context.Context, string) (net.Conn, error) // nil: TCP
}

// Client is a session of a server. It is safe for concurrent use; calls wait for each
// other.
type Client struct {
	cfg     Config
	conn    *grpc.ClientConn
	service schema.ImmuServiceClient

	mu      sync.Mutex
	session string
	state   state
	written time.Time // of the state file
	dirty   bool      // the state is newer than its file
}

// Open begins a session, and verifies that the server still has everything that the state
// file states. It returns [ErrRolledBack], [ErrRewritten], [ErrOtherServer] or [ErrNoState]
// otherwise. Close must be called.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Database == "" {
		cfg.Database = DefaultDatabase
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.StateFile == "" {
		return nil, errors.New("immudb: name the state file")
	}
	secure := insecure.NewCredentials()
	if cfg.TLS != nil {
		secure = credentials.NewTLS(cfg.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}
	target := "dns:///" + cfg.Address
	if cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(cfg.Dial))
		target = "passthrough:///" + cfg.Address
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("immudb: address %q: %w", cfg.Address, err)
	}
	c := &Client{cfg: cfg, conn: conn, service: schema.NewImmuServiceClient(conn)}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// begin logs in and compares the server with the state file.
func (c *Client) begin(ctx context.Context) error {
	known, err := readState(c.cfg.StateFile)
	if err != nil {
		return err
	}
	server, err := c.login(ctx)
	if err != nil {
		return err
	}
	now, err := c.current(ctx)
	if err != nil {
		return err
	}
	switch {
	case known == nil && now.TxId > 0 && !c.cfg.First:
		return fmt.Errorf("%w: %s does not exist, and database %s has %d transactions: put it back, or pass --first to believe the server once", ErrNoState, c.cfg.StateFile, c.cfg.Database, now.TxId)
	case known == nil:
		c.state = state{Version: 1, Server: server, Database: c.cfg.Database, Tx: now.TxId, Hash: now.TxHash}
		return c.state.write(c.cfg.StateFile)
	case known.Server != server || known.Database != c.cfg.Database:
		return fmt.Errorf("%w: server %s, database %s, and %s is of server %s, database %s: name the right server, or another state file", ErrOtherServer, server, c.cfg.Database, c.cfg.StateFile, known.Server, known.Database)
	}
	c.state = *known
	return c.goOn(ctx, now)
}

// login begins a session, and returns the id of the server.
func (c *Client) login(ctx context.Context) (server string, err error) {
	if c.cfg.Token != "" {
		return c.serverByToken(ctx)
	}
	answer, err := c.service.OpenSession(ctx, &schema.OpenSessionRequest{Username: []byte(c.cfg.User), Password: []byte(c.cfg.Password), DatabaseName: c.cfg.Database})
	if err != nil {
		return "", classify("log in to database "+c.cfg.Database, err)
	}
	c.session = answer.SessionID
	return answer.ServerUUID, nil
}

// serverByToken returns the id of the server. The token names the database.
func (c *Client) serverByToken(ctx context.Context) (string, error) {
	var header metadata.MD
	if _, err := c.service.Health(c.as(ctx), new(emptypb.Empty), grpc.Header(&header)); err != nil {
		return "", classify("ask for its health", err)
	}
	if ids := header.Get("immudb-uuid"); len(ids) > 0 {
		return ids[0], nil
	}
	return "", errors.New("immudb: the server does not say its id")
}

// as adds the session or the token to the calls of a context.
func (c *Client) as(ctx context.Context) context.Context {
	if c.cfg.Token != "" {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.cfg.Token)
	}
	return metadata.AppendToOutgoingContext(ctx, "sessionid", c.session)
}

// call makes a call, again with a new session if the old one is over.
func call[T any](ctx context.Context, c *Client, what string, f func(context.Context) (T, error)) (T, error) {
	out, err := f(c.as(ctx))
	if err != nil && c.cfg.Token == "" && sessionOver(err) {
		server, err := c.login(ctx)
		if err != nil {
			return out, err
		}
		if server != c.state.Server {
			return out, fmt.Errorf("%w: server %s, and before it was server %s", ErrOtherServer, server, c.state.Server)
		}
		out, err = f(c.as(ctx))
		return out, classify(what, err)
	}
	return out, classify(what, err)
}

func (c *Client) current(ctx context.Context) (*schema.ImmutableState, error) {
	s, err := call(ctx, c, "ask for its state", func(ctx context.Context) (*schema.ImmutableState, error) {
		return c.service.CurrentState(ctx, new(emptypb.Empty))
	})
	if err != nil {
		return nil, err
	}
	if s.Db != "" && s.Db != c.cfg.Database {
		return nil, fmt.Errorf("%w: the token is of database %s, not %s", ErrOtherServer, s.Db, c.cfg.Database)
	}
	return s, nil
}

// Look verifies that the server still has everything that was verified. It keeps the
// session alive, too.
func (c *Client) Look(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.current(ctx)
	if err == nil {
		err = c.goOn(ctx, now)
	}
	if err != nil || !c.dirty {
		return err
	}
	c.written, c.dirty = c.cfg.Now(), false // nothing else writes it while nothing comes
	return c.state.write(c.cfg.StateFile)
}

// Tx returns the last transaction that was verified.
func (c *Client) Tx() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Tx
}

// remember keeps a verified state.
func (c *Client) remember(tx uint64, hash []byte) error {
	c.state.Tx, c.state.Hash, c.dirty = tx, hash, true
	if now := c.cfg.Now(); now.Sub(c.written) >= stateEvery {
		c.written, c.dirty = now, false
		return c.state.write(c.cfg.StateFile)
	}
	return nil
}

// Close ends the session, and writes the state file.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.dirty {
		c.dirty = false
		err = c.state.write(c.cfg.StateFile)
	}
	if c.session != "" {
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = c.service.CloseSession(c.as(ending), new(emptypb.Empty)) // the server may be gone
	}
	return errors.Join(err, c.conn.Close())
}
