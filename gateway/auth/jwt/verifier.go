// Package jwt verifies JSON web tokens of an issuer, and makes principals of them.
//
// Signatures are checked with the public keys of the issuer's key set alone, and by
// asymmetric algorithms alone: a token that is signed with nothing, or with a public key
// as if it were a secret, is refused before anything else of it is read.
package jwt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"holdmetrics/gateway/auth"
)

const (
	// believed is how long a token is believed without another look at its signature. A
	// key that its issuer has taken back counts for so long.
	believed = time.Minute
	// keptTokens bounds the tokens that are believed. When there are more, all are
	// forgotten.
	keptTokens = 16 << 10
	// maxSubject is how much of a subject names a principal.
	maxSubject = 200
)

// DefaultSkew is how far the clocks of an issuer and a gateway may be apart.
const DefaultSkew = time.Minute

// algorithms are those that a token may be signed with.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Config is what a verifier is made of.
type Config struct {
	Issuer   string        // that tokens must be of; empty: any that has a key of the set
	Audience string        // that tokens must be for
	Skew     time.Duration // how far the clocks may be apart
	// Claims of a token, with dots between names of objects. ScopeClaim has the scopes;
	// empty: scope or scp. TokensClaim and HoldersClaim have what it is narrowed to; empty:
	// it is not. A token without a claim that is named here may do nothing.
	ScopeClaim, TokensClaim, HoldersClaim string
	Keys                                  *KeySet
	Now                                   func() int64 // unix nanoseconds
}

// Verifier verifies tokens. It implements [auth.Tokens]. It is safe for concurrent use.
type Verifier struct {
	cfg Config

	mu    sync.RWMutex
	known map[[sha256.Size]byte]verified
}

// verified is a token whose signature was checked.
type verified struct {
	principal *auth.Principal
	until     int64 // unix nanoseconds
}

// New returns a verifier.
func New(cfg Config) *Verifier {
	return &Verifier{cfg: cfg, known: map[[sha256.Size]byte]verified{}}
}

// rejected is the refusal of a token. What is wrong with it is said of the token alone.
func rejected(reason auth.Reason, format string, args ...any) error {
	return auth.Rejected(reason, "the token is not valid: "+fmt.Sprintf(format, args...), "")
}

// Verify implements [auth.Tokens].
func (v *Verifier) Verify(ctx context.Context, token string, wait bool) (*auth.Principal, error) {
	now, sum := v.cfg.Now(), sha256.Sum256([]byte(token))
	v.mu.RLock()
	known, ok := v.known[sum]
	v.mu.RUnlock()
	if ok && now < known.until {
		return known.principal, nil
	}
	p, err := v.verify(ctx, token, wait, now)
	if err != nil {
		return nil, err
	}
	until := now + int64(believed)
	if p.Expires < until {
		until = p.Expires
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= keptTokens {
		clear(v.known)
	}
	v.known[sum] = verified{p, until}
	return p, nil
}

func (v *Verifier) verify(ctx context.Context, token string, wait bool, now int64) (*auth.Principal, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, rejected(auth.Invalid, "it is no JWT that is signed with an algorithm of public keys")
	}
	var claims jwt.Claims
	var all map[string]any
	kid := ""
	if len(parsed.Headers) > 0 {
		kid = parsed.Headers[0].KeyID
	}
	keys, err := v.cfg.Keys.find(ctx, kid, wait, now)
	if err != nil {
		return nil, err
	}
	good := false
	for i := range keys {
		claims, all = jwt.Claims{}, nil
		if err = parsed.Claims(keys[i].Key, &claims, &all); err == nil {
			good = true
			break
		}
	}
	if !good {
		return nil, rejected(auth.Invalid, "no key of the issuer has signed it")
	}
	if claims.Expiry == nil {
		return nil, rejected(auth.Invalid, "it has no exp: a token without an end cannot be taken back")
	}
	err = claims.ValidateWithLeeway(jwt.Expected{Issuer: v.cfg.Issuer, AnyAudience: jwt.Audience{v.cfg.Audience}, Time: time.Unix(0, now)}, v.cfg.Skew)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return nil, rejected(auth.Expired, "it has expired")
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return nil, rejected(auth.Invalid, "it is of the future")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, rejected(auth.Invalid, "it is for another audience")
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return nil, rejected(auth.Invalid, "it is of another issuer")
	case err != nil:
		return nil, rejected(auth.Invalid, "its claims are wrong")
	}
	return v.principal(&claims, all)
}

// principal makes a principal of claims that were checked.
func (v *Verifier) principal(claims *jwt.Claims, all map[string]any) (*auth.Principal, error) {
	if claims.Subject == "" {
		return nil, rejected(auth.Invalid, "it has no sub")
	}
	p := &auth.Principal{Kind: auth.JWT, Name: claims.Subject[:min(len(claims.Subject), maxSubject)], Expires: claims.Expiry.Time().Add(v.cfg.Skew).UnixNano()}
	p.Scopes = auth.KnownScopes(scopeWords(v.cfg.ScopeClaim, all))
	for _, n := range []struct {
		claim string
		names **auth.Names
	}{{v.cfg.TokensClaim, &p.Tokens}, {v.cfg.HoldersClaim, &p.Holders}} {
		if n.claim == "" {
			continue
		}
		texts, _ := texts(claimAt(all, n.claim)) // none: it may do nothing
		names, err := auth.ParseNames(texts)
		if err != nil {
			return nil, rejected(auth.Invalid, "its claim %q is not a list of ids and patterns", n.claim)
		}
		*n.names = names
	}
	if p.Narrowed() {
		p.Scopes &^= auth.Admin
	}
	return p, nil
}
