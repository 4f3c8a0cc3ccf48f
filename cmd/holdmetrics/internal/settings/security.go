package settings

import (
	"fmt"
	"strconv"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// The keys of the settings of who may reach the servers.
const (
	KeyTLSCert     = "tls-cert"
	KeyTLSKey      = "tls-key"
	KeyTLSClientCA = "tls-client-ca"
	KeyInsecure    = "insecure"
	KeyAuth        = "auth"
)

// The values of [KeyAuth].
const (
	AuthOff = "off"
	AuthOn  = "on"
)

// Security says who may reach the servers of a process.
type Security struct {
	// PEM files of the gRPC and HTTP servers: a certificate with its chain, its key, and
	// the authorities of the certificates that clients must have. Empty: none.
	TLSCert, TLSKey, TLSClientCA string
	// Auth: every call must show a key or a token whose scope is enough for it.
	Auth bool
	// Insecure: listen beyond loopback without TLS or without authentication.
	Insecure bool
}

// HasTLS reports whether the servers speak TLS alone.
func (s *Security) HasTLS() bool { return s.TLSCert != "" }

// HasAuthentication reports whether the servers know who calls: by a key or a token, or
// by the certificate of the client.
func (s *Security) HasAuthentication() bool { return s.Auth || s.TLSClientCA != "" }

// securityFlags adds the flags for who may reach the servers.
func securityFlags(f *pflag.FlagSet) {
	f.String(KeyTLSCert, "", "PEM `file` of the servers' certificate and its chain; read again when it changes (TLS_CERT; default: no TLS)")
	f.String(KeyTLSKey, "", "PEM `file` of the certificate's key (TLS_KEY)")
	f.String(KeyTLSClientCA, "", "PEM `file` of the authorities whose certificates clients must have (TLS_CLIENT_CA; default: clients need no certificate)")
	f.String(KeyAuth, AuthOff, "on: every call of gRPC and HTTP needs a key or a token of a sufficient scope, but not the port of metrics; off: none does (AUTH)")
	f.Bool(KeyInsecure, false, "listen beyond loopback also without TLS and authentication, which serves everybody who can connect (INSECURE)")
}

// parse reads these settings, if there are flags for them.
func (s *Security) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) (err error) {
	if !has(KeyTLSCert) {
		return nil
	}
	s.TLSCert, s.TLSKey, s.TLSClientCA = k.String(KeyTLSCert), k.String(KeyTLSKey), k.String(KeyTLSClientCA)
	switch {
	case s.TLSCert == "" && s.TLSKey != "":
		return bad(KeyTLSCert, fmt.Errorf("is missing: a key goes with its certificate"))
	case s.TLSCert != "" && s.TLSKey == "":
		return bad(KeyTLSKey, fmt.Errorf("is missing: a certificate goes with its key"))
	case s.TLSCert == "" && s.TLSClientCA != "":
		return bad(KeyTLSCert, fmt.Errorf("is missing: certificates of clients can be asked for over TLS alone"))
	}
	switch text := k.String(KeyAuth); text {
	case AuthOn, "true": // as YAML has on
		s.Auth = true
	case AuthOff, "false":
	default:
		return bad(KeyAuth, fmt.Errorf("%q is not %s or %s", text, AuthOff, AuthOn))
	}
	if s.Insecure, err = strconv.ParseBool(k.String(KeyInsecure)); err != nil {
		return bad(KeyInsecure, fmt.Errorf("%q is neither true nor false", k.String(KeyInsecure)))
	}
	return nil
}
