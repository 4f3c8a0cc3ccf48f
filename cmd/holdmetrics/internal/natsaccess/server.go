package natsaccess

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
)

// anonymous is the user without credentials.
const anonymous = "anonymous"

// attachWithin is how long a client may wait for a server that is being started.
const attachWithin = time.Second

// Gate decides who may connect to an embedded NATS server, and as whom. It implements
// server.Authentication, and is for one server: see Attach.
type Gate struct {
	users     Users
	anonymous bool // connections of this machine without credentials are producers
	log       *zap.Logger

	attached chan struct{} // closed by Attach
	server   *server.Server

	mu          sync.Mutex
	known       map[string]*member // by public nkey
	nobody      *member            // the anonymous user; nil: there is none
	accounts    map[string]*apart  // by name; they stay when a user is revoked
	generations []string
	damaged     string // the error of the last look that was logged
}

// member is a user in the server.
type member struct {
	User
	account *server.Account
	clients map[uint64]struct{} // connections that were made, some of which have ended
}

// apart is an account that is not that of the log.
type apart struct {
	*server.Account
	imported map[string]bool // subjects of the account of the log
}

// NewGate returns the gate of a server that is not started. With anonymous, connections
// of this machine without credentials are producers.
func NewGate(users Users, anonymous bool, log *zap.Logger) *Gate {
	return &Gate{users: users, anonymous: anonymous, log: log, attached: make(chan struct{}), known: map[string]*member{}, accounts: map[string]*apart{}}
}

// Attach makes the accounts of the users in a server that has been started. Until then
// clients wait.
func (g *Gate) Attach(s *server.Server) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.server = s
	if g.anonymous {
		g.nobody = &member{User: User{Name: anonymous, Role: Producer}}
		if err := g.admit(g.nobody); err != nil {
			return err
		}
	}
	if err := g.read(); err != nil {
		return err
	}
	close(g.attached)
	return nil
}

// Look reads the users again, and ends the connections of those that are gone.
func (g *Gate) Look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.read(); err != nil {
		g.complain(err)
	}
}

// complain logs an error unless it was logged the last time.
func (g *Gate) complain(err error) {
	if text := err.Error(); text != g.damaged {
		g.damaged = text
		g.log.Error("the NATS users cannot be read; those that are known stay", zap.Error(err))
	}
}

// SetGenerations sets the generations whose snapshots readers may read.
func (g *Gate) SetGenerations(names []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Equal(names, g.generations) {
		return nil
	}
	g.generations = slices.Clone(names)
	for _, m := range g.known {
		if err := g.admit(m); err != nil {
			return err
		}
	}
	return nil
}

// read takes over the users of the data directory. A file that cannot be read shuts out
// its user alone.
func (g *Gate) read() error {
	operator, err := g.users.operator()
	if err != nil {
		return err
	}
	all, damaged := g.users.List()
	if damaged == nil {
		g.damaged = ""
	} else {
		g.complain(damaged)
	}
	now := map[string]User{operator.Nkey: operator}
	for _, user := range all {
		if other, twice := now[user.Nkey]; twice {
			return fmt.Errorf("the NATS users %s and %s have one nkey: revoke one of them", other.Name, user.Name)
		}
		now[user.Nkey] = user
	}
	for key, m := range g.known {
		if user, stays := now[key]; !stays || user.Name != m.Name || user.Role != m.Role {
			delete(g.known, key)
			for _, id := range slices.Collect(maps.Keys(m.clients)) {
				_ = g.server.DisconnectClientByID(id) // fails if it has ended
			}
		}
	}
	for key, user := range now {
		if g.known[key] != nil {
			continue
		}
		m := &member{User: user}
		if err := g.admit(m); err != nil {
			return err
		}
		g.known[key] = m
	}
	return nil
}

// admit makes the account of a user, and gives it what its role may use of the account
// of the log.
func (g *Gate) admit(m *member) error {
	if m.clients == nil {
		m.clients = map[uint64]struct{}{}
	}
	grant, own := GrantOf(m.Role, g.generations...), g.server.GlobalAccount()
	if m.Role == Operator {
		m.account = own
		return nil
	}
	name := string(m.Role) + "-" + m.Name
	to := g.accounts[name]
	if to == nil {
		account, err := g.server.RegisterAccount(name)
		if err != nil {
			return fmt.Errorf("the account of the NATS user %s cannot be made: %w", m.Name, err)
		}
		to = &apart{account, map[string]bool{}}
		g.accounts[name] = to
	}
	m.account = to.Account
	for _, subject := range grant.Services {
		err := to.once(subject, func() error {
			// One request for many messages has an answer of many.
			if err := own.AddServiceExportWithResponse(subject, server.Streamed, nil); err != nil {
				return err
			}
			return to.AddServiceImport(own, subject, subject)
		})
		if err != nil {
			return fmt.Errorf("the NATS user %s cannot be given %s: %w", m.Name, subject, err)
		}
	}
	for _, subject := range grant.Streams {
		err := to.once(subject, func() error {
			if err := own.AddStreamExport(subject, nil); err != nil {
				return err
			}
			return to.AddStreamImport(own, subject, "")
		})
		if err != nil {
			return fmt.Errorf("the NATS user %s cannot be given %s: %w", m.Name, subject, err)
		}
	}
	return nil
}

// once calls f unless it has succeeded before for the subject.
func (a *apart) once(subject string, f func() error) error {
	if a.imported[subject] {
		return nil
	}
	err := f()
	a.imported[subject] = err == nil
	return err
}

// Check implements server.Authentication.
func (g *Gate) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	from := c.RemoteAddress()
	if from == nil {
		return false
	}
	if from.Network() == "pipe" {
		return true // of this process, through memory; see server.InProcessConn
	}
	late := time.NewTimer(attachWithin)
	defer late.Stop()
	select {
	case <-g.attached:
	case <-late.C:
		return false
	}
	o := c.GetOpts()
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.known[o.Nkey]
	if o.Nkey == "" && o.Username == "" && o.Password == "" && o.Token == "" && o.JWT == "" {
		if m = g.nobody; m == nil || !IsLoopback(from) {
			return false
		}
	} else if m == nil || !signed(o.Nkey, o.Sig, c.GetNonce()) {
		return false
	}
	for id := range m.clients {
		if g.server.GetClient(id) == nil {
			delete(m.clients, id)
		}
	}
	m.clients[c.GetID()] = struct{}{}
	c.RegisterUser(&server.User{Username: m.Name, Account: m.account, Permissions: permissions(GrantOf(m.Role, g.generations...))})
	return true
}

// IsLoopback reports whether only this machine has the address.
func IsLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// signed reports whether the owner of a key has signed the nonce.
func signed(key, signature string, nonce []byte) bool {
	if len(nonce) == 0 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		if raw, err = base64.StdEncoding.DecodeString(signature); err != nil {
			return false
		}
	}
	public, err := nkeys.FromPublicKey(key)
	return err == nil && public.Verify(nonce, raw) == nil
}

// permissions are a grant as the server has it.
func permissions(g Grant) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: g.Publish, Deny: g.DenyPublish},
		Subscribe: &server.SubjectPermission{Allow: g.Subscribe},
	}
}
