package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"holdmetrics/gateway/auth"
)

// issuer publishes keys, and signs tokens.
type issuer struct {
	*httptest.Server
	asked atomic.Int64 // for keys
	down  atomic.Bool

	mu   sync.Mutex
	keys []jose.JSONWebKey // private
}

func newIssuer(t *testing.T, keys ...jose.JSONWebKey) *issuer {
	i := &issuer{keys: keys}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
		case "/keys":
			i.asked.Add(1)
			w.Write(i.set())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(func() {
		i.Close()
		i.Client().CloseIdleConnections()
	})
	return i
}

// set is the public key set, with a secret and a key of an unknown kind in it.
func (i *issuer) set() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := []any{map[string]string{"kty": "oct", "kid": "secret", "k": "AAAA"}, map[string]string{"kty": "new", "kid": "new"}}
	for _, k := range i.keys {
		all = append(all, k.Public())
	}
	text, err := json.Marshal(map[string]any{"keys": all})
	if err != nil {
		panic(err)
	}
	return text
}

func (i *issuer) rotate(keys ...jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

func rsaKey(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: kid, Algorithm: "RS256", Use: "sig"}
}

func ecKey(t *testing.T, kid string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const now = int64(1_700_000_000) * 1e9

func claims(i *issuer, change map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": []string{"holdmetrics", "other"}, "sub": "alice", "exp": now/1e9 + 600, "iat": now / 1e9, "scope": "openid read holdmetrics:write"}
	maps.Copy(c, change)
	for name, value := range c {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func verifierOf(i *issuer, at *atomic.Int64, change func(*Config)) *Verifier {
	cfg := Config{Issuer: i.URL, Audience: "holdmetrics", Skew: time.Minute, Keys: FromIssuer(i.URL, i.Client()), Now: at.Load}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

func clock() *atomic.Int64 {
	at := new(atomic.Int64)
	at.Store(now)
	return at
}

func TestTokens(t *testing.T) {
	t.Parallel()
	key, ec := rsaKey(t, "rsa"), ecKey(t, "ec")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey := jose.JSONWebKey{Key: ed, KeyID: "ed", Algorithm: "EdDSA", Use: "sig"}
	i := newIssuer(t, key, ec, edKey)
	stranger := rsaKey(t, "rsa")
	v := verifierOf(i, clock(), nil)
	public, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	good := signed(t, jose.RS256, key, claims(i, nil))
	pieces := strings.Split(good, ".")
	for name, c := range map[string]struct {
		token  string
		reason auth.Reason // empty: it is good
	}{
		"RS256":             {good, ""},
		"PS256":             {signed(t, jose.PS256, key.Key, claims(i, nil)), ""}, // without a key id
		"ES256":             {signed(t, jose.ES256, ec, claims(i, nil)), ""},
		"EdDSA":             {signed(t, jose.EdDSA, edKey, claims(i, nil)), ""},
		"just expired":      {signed(t, jose.RS256, key, claims(i, map[string]any{"exp": now/1e9 - 30})), ""},
		"expired":           {signed(t, jose.RS256, key, claims(i, map[string]any{"exp": now/1e9 - 61})), auth.Expired},
		"no exp":            {signed(t, jose.RS256, key, claims(i, map[string]any{"exp": nil})), auth.Invalid},
		"of the future":     {signed(t, jose.RS256, key, claims(i, map[string]any{"nbf": now/1e9 + 100})), auth.Invalid},
		"soon":              {signed(t, jose.RS256, key, claims(i, map[string]any{"nbf": now/1e9 + 30})), ""},
		"another audience":  {signed(t, jose.RS256, key, claims(i, map[string]any{"aud": "others"})), auth.Invalid},
		"no audience":       {signed(t, jose.RS256, key, claims(i, map[string]any{"aud": nil})), auth.Invalid},
		"another issuer":    {signed(t, jose.RS256, key, claims(i, map[string]any{"iss": "https://evil.example"})), auth.Invalid},
		"no issuer":         {signed(t, jose.RS256, key, claims(i, map[string]any{"iss": nil})), auth.Invalid},
		"no subject":        {signed(t, jose.RS256, key, claims(i, map[string]any{"sub": nil})), auth.Invalid},
		"a stranger's key":  {signed(t, jose.RS256, stranger, claims(i, nil)), auth.Invalid},
		"unknown key id":    {signed(t, jose.RS256, rsaKey(t, "who"), claims(i, nil)), auth.Invalid},
		"HS256 of the key":  {signed(t, jose.HS256, public, claims(i, nil)), auth.Invalid},
		"HS256 of a secret": {signed(t, jose.HS256, jose.JSONWebKey{Key: make([]byte, 32), KeyID: "secret"}, claims(i, nil)), auth.Invalid},
		"none":              {part(map[string]string{"alg": "none"}) + "." + pieces[1] + ".", auth.Invalid},
		"None":              {part(map[string]string{"alg": "None", "kid": "rsa"}) + "." + pieces[1] + ".", auth.Invalid},
		"no signature":      {pieces[0] + "." + pieces[1] + ".", auth.Invalid},
		"other claims":      {pieces[0] + "." + part(claims(i, map[string]any{"sub": "root"})) + "." + pieces[2], auth.Invalid},
		"a key of its own":  {withOwnKey(t, stranger, claims(i, nil)), auth.Invalid},
		"no JWT":            {"abc", auth.Invalid},
		"empty parts":       {"..", auth.Invalid},
	} {
		p, err := v.Verify(t.Context(), c.token, true)
		refused := (*auth.RefusedError)(nil)
		switch {
		case c.reason == "" && (err != nil || p.String() != "jwt:alice" || p.Scopes != auth.Read|auth.Write || p.Narrowed()):
			t.Errorf("%s: %+v, %v", name, p, err)
		case c.reason != "" && (!errors.As(err, &refused) || refused.Reason != c.reason):
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// withOwnKey is a token whose header brings the key that it is signed with.
func withOwnKey(t *testing.T, key jose.JSONWebKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// An issuer changes its keys: tokens of the new one are taken at once, those of the former
// one for some minutes; and tokens with made-up key ids are no flood of questions.
func TestRotation(t *testing.T) {
	t.Parallel()
	first, second := ecKey(t, "1"), ecKey(t, "2")
	i, at := newIssuer(t, first), clock()
	v := verifierOf(i, at, nil)
	token := func(k jose.JSONWebKey, sub string) string {
		return signed(t, jose.ES256, k, claims(i, map[string]any{"sub": sub, "exp": now/1e9 + 7200}))
	}
	if _, err := v.Verify(t.Context(), token(first, "a"), false); !errors.Is(err, auth.ErrSlow) {
		t.Errorf("the first question does not wait: %v", err)
	}
	if _, err := v.Verify(t.Context(), token(first, "a"), true); err != nil {
		t.Fatal(err)
	}
	i.rotate(second)
	at.Add(int64(askAgain))
	if _, err := v.Verify(t.Context(), token(second, "b"), true); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := v.Verify(t.Context(), token(first, "c"), true); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("the former key: %v", err)
	}
	asked := i.asked.Load()
	for range 20 {
		if _, err := v.Verify(t.Context(), token(ecKey(t, rand.Text()), "d"), true); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("a made-up key: %v", err)
		}
	}
	if n := i.asked.Load() - asked; n > 1 {
		t.Errorf("the issuer was asked %d times for made-up keys", n)
	}
	// A token that was believed is believed for a minute.
	if _, err := v.Verify(t.Context(), token(first, "c"), true); err == nil {
		t.Error("a token that was refused is believed")
	}
	i.down.Store(true)
	at.Add(int64(keysAge))
	if _, err := v.Verify(t.Context(), token(second, "e"), true); err != nil {
		t.Errorf("while the issuer is down: %v", err)
	}
	at.Add(int64(keysMost))
	if _, err := v.Verify(t.Context(), token(second, "f"), true); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("down for too long: %v", err)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	key := ecKey(t, "1")
	i := newIssuer(t, key)
	v := verifierOf(i, clock(), func(c *Config) {
		c.ScopeClaim, c.TokensClaim, c.HoldersClaim = "realm.roles", "https://example.com/tokens", "holders"
	})
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"all":          {map[string]any{"realm": map[string]any{"roles": []string{"read", "admin", "x"}}, "https://example.com/tokens": []string{"a", "b*"}, "holders": "alice"}, "read [a b*] [alice]"},
		"no narrowing": {map[string]any{"realm": map[string]any{"roles": "write read"}}, "write,read [] []"},
		"no scopes":    {map[string]any{"holders": []string{"*"}}, "none [] [*]"},
		"wrong kinds":  {map[string]any{"realm": "read", "holders": 7}, "none [] []"},
	} {
		p, err := v.Verify(t.Context(), signed(t, jose.ES256, key, claims(i, c.claims)), true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := p.Scopes.String() + " [" + strings.Join(p.Tokens.Texts(), " ") + "] [" + strings.Join(p.Holders.Texts(), " ") + "]"
		if got != c.want || p.Tokens == nil || p.Holders == nil {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
	if _, err := v.Verify(t.Context(), signed(t, jose.ES256, key, claims(i, map[string]any{"holders": []string{""}})), true); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestKeysOfAFile(t *testing.T) {
	t.Parallel()
	first, second := ecKey(t, "1"), ecKey(t, "2")
	i, at := newIssuer(t, first), clock()
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		at.Add(int64(2 * fileLook))
	}
	if _, err := FromFile(path); !errors.Is(err, ErrKeys) {
		t.Errorf("no file: %v", err)
	}
	write(i.set())
	keys, err := FromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := verifierOf(i, at, func(c *Config) { c.Keys, c.Issuer = keys, "" })
	token := func(k jose.JSONWebKey) string {
		return signed(t, jose.ES256, k, claims(i, map[string]any{"iss": "another", "jti": rand.Text()}))
	}
	if _, err := v.Verify(t.Context(), token(first), false); err != nil {
		t.Error(err)
	}
	i.rotate(second)
	write(i.set())
	if _, err := v.Verify(t.Context(), token(second), false); err != nil {
		t.Errorf("after a change: %v", err)
	}
	write([]byte("{"))
	if _, err := v.Verify(t.Context(), token(second), false); err != nil {
		t.Errorf("a file that is being written: %v", err)
	}
	if i.asked.Load() != 0 {
		t.Error("the issuer was asked")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	keys := &KeySet{source: file("/nonexistent"), age: fileLook, pause: fileLook, most: keysMost}
	v := New(Config{Audience: "x", Keys: keys, Now: func() int64 { return now }})
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := v.Verify(t.Context(), token, true); err == nil {
			t.Errorf("%q is %v", token, p)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		for _, k := range keys {
			if err != nil || !k.IsPublic() {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
}
