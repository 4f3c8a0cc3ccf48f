package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"holdmetrics/gateway/auth"
)

const (
	// keysAge is how long keys are used before they are asked for again, and keysMost how
	// long they are used if the issuer does not answer.
	keysAge  = 5 * time.Minute
	keysMost = time.Hour
	// askAgain is the least time between two questions to the issuer: tokens with made-up
	// key ids must not become questions to it.
	askAgain = 10 * time.Second
	// askWithin bounds a question.
	askWithin = 5 * time.Second
	// maxAnswer and maxKeys bound an answer.
	maxAnswer = 1 << 20
	maxKeys   = 100
	// fileLook is how often a file is looked at.
	fileLook = time.Second
)

// ErrKeys means that the keys of an issuer cannot be read.
var ErrKeys = errors.New("jwt: the keys of the issuer cannot be read")

// KeySet has the public keys of an issuer. It is safe for concurrent use.
type KeySet struct {
	source interface {
		// load reads the keys. It is asked again after age, and where a key is missing
		// after pause.
		load(ctx context.Context) ([]jose.JSONWebKey, error)
	}
	age, pause, most time.Duration
	slow             bool // load asks somebody

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	read  int64 // when keys were read; 0: never
	tried int64 // when that was tried last
	err   error // of the last try
}

// FromFile returns the keys of a file, which has a JSON web key set. The file is read again
// after changes.
func FromFile(path string) (*KeySet, error) {
	s := &KeySet{source: file(path), age: fileLook, pause: fileLook, most: keysMost}
	keys, err := s.source.load(context.Background())
	if err != nil {
		return nil, err
	}
	s.keys = keys
	return s, nil
}

// FromIssuer returns the keys that an issuer publishes, whose address its discovery document
// has. They are asked for when a token comes.
func FromIssuer(issuer string, client *http.Client) *KeySet {
	return &KeySet{source: &remote{issuer: issuer, client: client}, age: keysAge, pause: askAgain, most: keysMost, slow: true}
}

// find returns the keys that may have signed a token: those of its key id, or all.
func (s *KeySet) find(ctx context.Context, kid string, wait bool, now int64) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.named(kid)
	since := func(at int64) time.Duration { return time.Duration(now - at) }
	due := s.read == 0 || since(s.read) >= s.age || len(found) == 0
	if due && (s.tried == 0 || since(s.tried) >= s.pause) {
		if s.slow && !wait {
			return nil, auth.ErrSlow
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin) // others wait for the answer, too
		keys, err := s.source.load(within)
		cancel()
		s.tried, s.err = now, err
		if err == nil {
			s.keys, s.read = keys, now
		}
		found = s.named(kid)
	}
	switch {
	case s.err != nil && (s.read == 0 && len(s.keys) == 0 || since(s.read) >= s.most):
		return nil, auth.Rejected(auth.Unchecked, "tokens cannot be checked now: try again later", s.err.Error())
	case len(found) == 0:
		return nil, rejected(auth.Invalid, "no key of the issuer has signed it")
	}
	return found, nil
}

// named returns the keys of an id, or all for none.
func (s *KeySet) named(kid string) (found []jose.JSONWebKey) {
	for _, k := range s.keys {
		if kid == "" || k.KeyID == kid {
			found = append(found, k)
		}
	}
	return found
}

// parseKeys reads a JSON web key set. Keys for other ends than signatures, and secrets, are
// left out.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	var keys []jose.JSONWebKey
	for _, one := range raw.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(one, &k) != nil || k.Use != "" && k.Use != "sig" || !k.Valid() || !k.IsPublic() {
			continue // one of a kind that this program does not know spoils no other
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: the set has %d public keys for signatures, and 1 to %d are taken", ErrKeys, len(keys), maxKeys)
	}
	return keys, nil
}

// file is the path of a file with keys.
type file string

func (f file) load(context.Context) ([]jose.JSONWebKey, error) {
	r, err := os.Open(string(f))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return parseKeys(text)
}

// remote is an issuer.
type remote struct {
	issuer string
	client *http.Client
}

func (r *remote) load(ctx context.Context) ([]jose.JSONWebKey, error) {
	text, err := r.get(ctx, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, fmt.Errorf("%w: the discovery document: %w", ErrKeys, err)
	}
	if about.Issuer != r.issuer {
		return nil, fmt.Errorf("%w: the discovery document is of issuer %q, not %q", ErrKeys, about.Issuer, r.issuer)
	}
	if strings.HasPrefix(r.issuer, "https:") && !strings.HasPrefix(about.Keys, "https:") {
		return nil, fmt.Errorf("%w: jwks_uri %q is not https", ErrKeys, about.Keys)
	}
	if text, err = r.get(ctx, about.Keys); err != nil {
		return nil, err
	}
	return parseKeys(text)
}

func (r *remote) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: %s: %s", ErrKeys, url, resp.Status)
	}
	return text, nil
}
