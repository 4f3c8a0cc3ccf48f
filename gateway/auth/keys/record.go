package keys

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"holdmetrics/gateway/auth"
)

const (
	idBytes     = 10 // of an id: 16 letters and digits
	secretBytes = 32
	saltBytes   = 16
	// version is that of the form of records. A record of another one is refused: a field
	// that this program does not know may take something away from the key.
	version = 1
	// maxName is how long the name of a key may be, in bytes.
	maxName = 100
)

// alphabet writes ids and secrets: a double click takes the whole key, and nobody reads a 0
// as an O.
var alphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// encode writes bytes in lower case.
func encode(b []byte) string { return strings.ToLower(alphabet.EncodeToString(b)) }

// Errors that callers decide on.
var (
	// ErrRecord: a record of the bucket cannot be used, and its key is refused.
	ErrRecord = errors.New("keys: the record cannot be used")
	// ErrSpec: a key like this cannot be made.
	ErrSpec = errors.New("keys: no such key can be made")
	// ErrUnknown: there is no such key.
	ErrUnknown = errors.New("keys: not known")
	// ErrExists: there is a key of that name, which was not revoked.
	ErrExists = errors.New("keys: exists already")
)

// Spec is what a key is to be.
type Spec struct {
	Name            string
	Scopes          auth.Scope
	Tokens, Holders []string // ids and patterns that it is narrowed to; nil: it is not
	Quotas          auth.Quotas
	Expires         time.Time // zero: never
	By              string    // who makes it
}

// Record is a key as the bucket has it.
type Record struct {
	Version int         `json:"v"`
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Salt    []byte      `json:"salt,omitempty"`
	Hash    []byte      `json:"hash,omitempty"`
	Scopes  []string    `json:"scopes"`
	Tokens  *[]string   `json:"tokens,omitempty"`  // nil: all; empty: none
	Holders *[]string   `json:"holders,omitempty"` // the same
	Quotas  auth.Quotas `json:"quotas,omitzero"`
	Created time.Time   `json:"created"`
	Expires *time.Time  `json:"expires,omitempty"`
	Revoked *time.Time  `json:"revoked,omitempty"`
	By      string      `json:"by,omitempty"`
}

// Make makes a key. The text of the key is nowhere else.
func Make(random io.Reader, s Spec, now time.Time) (key string, r Record, err error) {
	bits := make([]byte, idBytes+secretBytes+saltBytes)
	if _, err := io.ReadFull(random, bits); err != nil {
		return "", Record{}, fmt.Errorf("keys: read random bytes: %w", err)
	}
	id, secret := encode(bits[:idBytes]), encode(bits[idBytes:idBytes+secretBytes])
	r = Record{
		Version: version, ID: id, Name: s.Name, Salt: bits[idBytes+secretBytes:],
		Scopes: s.Scopes.Names(), Tokens: given(s.Tokens), Holders: given(s.Holders),
		Quotas: s.Quotas, Created: now.UTC(), By: s.By,
	}
	r.Hash = hashOf(r.Salt, secret)
	if !s.Expires.IsZero() {
		at := s.Expires.UTC()
		r.Expires = &at
	}
	switch {
	case r.Expires != nil && !r.Expires.After(now):
		err = fmt.Errorf("%w: it would have expired already, at %s", ErrSpec, r.Expires.Format(time.RFC3339))
	case s.Scopes.Has(auth.Admin) && (s.Tokens != nil || s.Holders != nil):
		err = fmt.Errorf("%w: what the scope admin shows is of the whole server, so it cannot be narrowed to tokens or holders: make two keys", ErrSpec)
	default:
		if err = r.check(); err != nil {
			err = fmt.Errorf("%w: %w", ErrSpec, errors.Unwrap(err))
		}
	}
	return auth.KeyPrefix + id + "_" + secret, r, err
}

// given is nil for nil, and else a list of its own.
func given(names []string) *[]string {
	if names == nil {
		return nil
	}
	return &names
}

// hashOf is what a record has of a secret.
func hashOf(salt []byte, secret string) []byte {
	mac := hmac.New(sha256.New, salt)
	_, _ = io.WriteString(mac, secret) // a hash takes everything
	return mac.Sum(nil)
}

// cut returns the id and the secret of a key.
func cut(key string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(key, auth.KeyPrefix)
	if !ok {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && validID(id) && secret != ""
}

// validID reports whether a text is written as an id is.
func validID(id string) bool {
	return len(id) == alphabet.EncodedLen(idBytes) && strings.IndexFunc(id, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') }) < 0
}

// check returns an error that matches [ErrRecord] if a record cannot be used.
func (r *Record) check() error {
	_, scopeErr := auth.ParseScopes(r.Scopes)
	switch {
	case r.Version != version:
		return fmt.Errorf("%w: it is of version %d, and this program knows %d: it may be of a later one", ErrRecord, r.Version, version)
	case !validID(r.ID):
		return fmt.Errorf("%w: %q is no id", ErrRecord, r.ID)
	case r.Name == "" || len(r.Name) > maxName || !utf8.ValidString(r.Name) || strings.ContainsFunc(r.Name, unicode.IsControl):
		return bad("a name is 1 to %d bytes without control characters, not %q", maxName, r.Name)
	case scopeErr != nil:
		return fmt.Errorf("%w: %w", ErrRecord, scopeErr)
	case len(r.Scopes) == 0:
		return bad("it has no scope: write, read or admin")
	case r.Revoked == nil && (len(r.Salt) == 0 || len(r.Hash) != sha256.Size):
		return bad("it has no hash of its secret")
	case !fit(r.Quotas.Events) || !fit(r.Quotas.Bytes) || r.Quotas.Streams < 0 || r.Quotas.Watches < 0:
		return bad("a quota is not a number of 0 or more")
	}
	for _, texts := range []*[]string{r.Tokens, r.Holders} {
		if texts == nil {
			continue
		}
		if _, err := auth.ParseNames(*texts); err != nil {
			return bad("%w", err)
		}
	}
	return nil
}

func fit(quota float64) bool { return quota >= 0 && !math.IsInf(quota, 1) }

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRecord, fmt.Errorf(format, args...))
}

// decode reads the record of an id. A field that is not known is an error.
func decode(id string, value []byte) (*Record, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	r := new(Record)
	if err := d.Decode(r); err != nil {
		return nil, bad("%w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("something stands behind it")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.ID != id {
		return nil, bad("it is that of %q", r.ID)
	}
	return r, nil
}

// principal returns who a key is.
func (r *Record) principal() *auth.Principal {
	p := &auth.Principal{Kind: auth.Key, Name: r.Name, ID: r.ID, Tokens: namesOf(r.Tokens), Holders: namesOf(r.Holders), Session: new(auth.Session)}
	p.Scopes, _ = auth.ParseScopes(r.Scopes) // check has done it
	if p.Narrowed() {
		p.Scopes &^= auth.Admin
	}
	if r.Expires != nil {
		p.Expires = r.Expires.UnixNano()
	}
	return p
}

// namesOf returns the names that a record is narrowed to, which check has read before.
func namesOf(texts *[]string) *auth.Names {
	if texts == nil {
		return nil
	}
	names, err := auth.ParseNames(*texts)
	if err != nil {
		return &auth.Names{} // none
	}
	return names
}
