package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
)

// Keys finds the principal of a key.
type Keys interface {
	// Principal returns the principal of a key, or an error that matches
	// [ErrUnauthenticated] or [ErrUnavailable]. It does not block.
	Principal(key string) (*Principal, error)
}

// Tokens verifies JWTs.
type Tokens interface {
	// Verify returns the principal of a token, or an error that matches
	// [ErrUnauthenticated] or [ErrUnavailable]. wait allows it to ask the issuer; without
	// wait it returns [ErrSlow] if it would have to.
	Verify(ctx context.Context, token string, wait bool) (*Principal, error)
}

// ErrSlow says that credentials can be checked only by asking somebody else.
var ErrSlow = errors.New("auth: the check has to wait for an issuer")

// KeyPrefix is what keys begin with. No JWT does.
const KeyPrefix = "hm_"

// Config is what an authenticator is made of. Nil parts accept nobody.
type Config struct {
	Keys         Keys
	Tokens       Tokens
	Certificates *Certificates
	Now          func() int64 // unix nanoseconds; required
	Observer     Observer     // required
}

// Authenticator names the callers of requests. It is safe for concurrent use.
type Authenticator struct{ cfg Config }

// New returns an authenticator.
func New(cfg Config) *Authenticator { return &Authenticator{cfg} }

// Credentials are what came with a request.
type Credentials struct {
	// Authorization are the values of the header of that name.
	Authorization []string
	// Certificate is the client's own, of a chain that TLS has verified; nil: none.
	Certificate *x509.Certificate
}

// Request is a request that somebody wants served.
type Request struct {
	Call string // as the table has it
	From string // address
	Credentials
}

// Authorize returns the caller of a request, if it may make the call. The caller's tokens,
// holders and quotas are asked for later. A call that needs nothing has an anonymous
// caller unless good credentials came with it.
//
// Without wait it returns [ErrSlow] if the issuer of a token has to be asked first.
func (a *Authenticator) Authorize(ctx context.Context, r Request, need Need, wait bool) (*Caller, error) {
	c := &Caller{Principal: anonymous, Call: r.Call, From: r.From, now: a.cfg.Now, observer: a.cfg.Observer}
	p, err := a.principal(ctx, &r.Credentials, wait)
	if need == Nothing {
		if err == nil {
			c.Principal = p
		}
		return c, nil
	}
	if errors.Is(err, ErrSlow) {
		return nil, err
	}
	if err != nil {
		var refused *RefusedError
		if !errors.As(err, &refused) {
			refused = &RefusedError{Reason: Unchecked, Message: "the credentials cannot be checked now: try again later", Detail: err.Error()}
		}
		return nil, c.refuse(refused)
	}
	c.Principal = p
	if need == Unknown {
		return nil, c.refuse(refusal(UnknownCall, "there is no such method"))
	}
	if e := c.still(need.scope()); e != nil {
		return nil, c.refuse(e)
	}
	return c, nil
}

// principal names who the credentials are of. A token counts before a certificate: a bad
// one is refused, whatever the certificate.
func (a *Authenticator) principal(ctx context.Context, c *Credentials, wait bool) (*Principal, error) {
	switch {
	case len(c.Authorization) > 1:
		return nil, Rejected(Invalid, "there is more than one Authorization header", "")
	case len(c.Authorization) == 1:
		scheme, token, _ := strings.Cut(c.Authorization[0], " ")
		token = strings.TrimSpace(token)
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return nil, Rejected(Invalid, "the Authorization header is not Bearer and a key or a token", "")
		}
		return a.bearer(ctx, token, wait)
	case c.Certificate != nil && a.cfg.Certificates != nil:
		return a.cfg.Certificates.principal(c.Certificate)
	}
	return nil, Rejected(Missing, "this server asks for a key or a token: send the header Authorization: Bearer KEY", "")
}

// maxTokenBytes is how long a token may be. Headers are bounded, too.
const maxTokenBytes = 16 << 10

func (a *Authenticator) bearer(ctx context.Context, token string, wait bool) (*Principal, error) {
	switch {
	case len(token) > maxTokenBytes:
		return nil, Rejected(Invalid, "the token is too long", "")
	case strings.HasPrefix(token, KeyPrefix) && a.cfg.Keys != nil:
		return a.cfg.Keys.Principal(token)
	case !strings.HasPrefix(token, KeyPrefix) && a.cfg.Tokens != nil:
		return a.cfg.Tokens.Verify(ctx, token, wait)
	}
	return nil, Rejected(Invalid, "the key or the token is not valid", "this server takes none of its kind")
}
