package settings

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/auth/jwt"
)

// The keys of the settings of who callers are, beside those of [Security].
const (
	keyJWTIssuer       = "jwt-issuer"
	KeyJWTKeysFile     = "jwt-jwks-file"
	keyJWTAudience     = "jwt-audience"
	keyJWTSkew         = "jwt-clock-skew"
	keyJWTScopeClaim   = "jwt-scope-claim"
	keyJWTTokensClaim  = "jwt-tokens-claim"
	keyJWTHoldersClaim = "jwt-holders-claim"
	keyClientScopes    = "tls-client-scopes"
)

// Access says whose tokens and certificates are taken.
type Access struct {
	JWTIssuer   string // of tokens; empty: that of the keys in JWTKeysFile
	JWTKeysFile string // empty: the issuer is asked for its keys
	JWTAudience string
	JWTSkew     time.Duration

	JWTScopeClaim, JWTTokensClaim, JWTHoldersClaim string

	ClientScopes []string // NAME=SCOPE, of certificates
}

// HasJWT reports whether tokens are taken.
func (a *Access) HasJWT() bool { return a.JWTIssuer != "" || a.JWTKeysFile != "" }

// accessFlags adds the flags for whose tokens and certificates are taken.
func accessFlags(f *pflag.FlagSet) {
	f.String(keyJWTIssuer, "", "`URL` of the issuer whose JWTs are taken with --auth on; its keys are found by OpenID discovery (JWT_ISSUER; default: no JWTs)")
	f.String(KeyJWTKeysFile, "", "`file` with a JSON web key set, instead of asking the issuer; read again when it changes (JWT_JWKS_FILE)")
	f.String(keyJWTAudience, "", "`audience` that JWTs must be for (JWT_AUDIENCE)")
	skew := Duration(jwt.DefaultSkew)
	f.Var(&skew, keyJWTSkew, "how far the clocks of the issuer and this machine may be apart (JWT_CLOCK_SKEW)")
	f.String(keyJWTScopeClaim, "", "`claim` of JWTs that has the scopes; dots lead into objects (JWT_SCOPE_CLAIM; default: scope or scp)")
	f.String(keyJWTTokensClaim, "", "`claim` of JWTs that has the token ids and patterns they are narrowed to; without it a JWT may do nothing (JWT_TOKENS_CLAIM; default: not narrowed)")
	f.String(keyJWTHoldersClaim, "", "`claim` of JWTs that has the holder ids and patterns they are narrowed to (JWT_HOLDERS_CLAIM; default: not narrowed)")
	f.Var(new(clientScopes), keyClientScopes, "`NAME=SCOPE` of client certificates, such as worker-1=write or *.ops.example.com=read+admin; may be repeated, or several with commas (TLS_CLIENT_SCOPES; default: certificates have no scope)")
}

// parse reads these settings, if there are flags for them.
func (a *Access) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) (err error) {
	if !has(keyJWTIssuer) {
		return nil
	}
	a.JWTIssuer, a.JWTKeysFile, a.JWTAudience = k.String(keyJWTIssuer), k.String(KeyJWTKeysFile), k.String(keyJWTAudience)
	a.JWTScopeClaim, a.JWTTokensClaim, a.JWTHoldersClaim = k.String(keyJWTScopeClaim), k.String(keyJWTTokensClaim), k.String(keyJWTHoldersClaim)
	skew, err := ParseDuration(k.String(keyJWTSkew))
	if err != nil {
		return bad(keyJWTSkew, fmt.Errorf("%q: %w", k.String(keyJWTSkew), err))
	}
	a.JWTSkew = time.Duration(skew)
	if a.JWTIssuer != "" {
		if err := checkIssuer(a.JWTIssuer); err != nil {
			return bad(keyJWTIssuer, err)
		}
	}
	if a.HasJWT() && a.JWTAudience == "" {
		return bad(keyJWTAudience, fmt.Errorf("is missing: without it, tokens that the issuer made for other services would be taken"))
	}
	var scopes clientScopes
	if err := scopes.Set(k.String(keyClientScopes)); err != nil {
		return bad(keyClientScopes, err)
	}
	a.ClientScopes = scopes
	return nil
}

// checkIssuer returns an error unless a text is the URL of an issuer. Over http anybody on
// the way could give keys of his own.
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is not a URL such as https://login.example.com", text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || CheckLoopback(u.Host) == nil):
		return nil
	}
	return fmt.Errorf("%q is not https: its keys could be exchanged on the way", text)
}

// clientScopes are entries of certificates, as a flag that may be repeated.
type clientScopes []string

// Set adds entries, with commas between them.
func (c *clientScopes) Set(text string) error {
	return addTo(c, text, func(entry string) error {
		_, err := auth.ParseCertificates([]string{entry})
		return err
	})
}

// String returns the entries with commas between them.
func (c *clientScopes) String() string { return strings.Join(*c, ",") }

// Type is the kind of value that help shows.
func (c *clientScopes) Type() string { return "NAME=SCOPE" }
