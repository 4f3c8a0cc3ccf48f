// Package tlsfiles keeps certificates, keys and authorities that stand in files, and
// reads them again when the files change.
//
//	files, err := tlsfiles.Open(tlsfiles.Config{Name: "HTTP", Cert: "server.pem", Key: "server.key", CA: "clients.pem"})
//	group.Go("the certificate of HTTP", files.Run) // reads changes until it is stopped
//
//	listener = tls.NewListener(listener, files.Server("h2", "http/1.1"))     // a server
//	conn, err := tls.Dial("tcp", address, files.Client())                    // a client
//	nats.Connect(url, nats.ClientTLSConfig(files.Certificate, files.Authorities)) // of NATS
//	files.Status().Expires                                                   // for a metric
//
// A server presents the certificate of Cert and Key. If CA names a file, its clients must
// present a certificate that one of the authorities in it has signed. A client presents
// the certificate of Cert and Key, if they are given, and takes a server that one of the
// authorities in CA has signed, or of the system if there is no CA.
//
// New files count for connections that are made later. Files that cannot be used leave
// what was read before in force: the log says so once, and Status as long as it lasts.
// TLS 1.2 is the least that is spoken.
package tlsfiles

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"holdmetrics/internal/backoff"
)

const (
	// WarnWithin is how long before a certificate expires the log begins to warn, and
	// warnEvery how often it does.
	WarnWithin = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour

	// DefaultEvery is how often Run looks at the files, unless [Config] says otherwise.
	DefaultEvery = 2 * time.Second

	// mostBytes is how large a file may be.
	mostBytes = 1 << 20
)

// The errors of files that cannot be used.
var (
	// ErrHalfPair means that a certificate is named without its key, or the other way round.
	ErrHalfPair = errors.New("a certificate and its key go together: name both files")
	// ErrExpired means that a certificate has expired.
	ErrExpired = errors.New("the certificate has expired")
)

// Config names the files. At least one of Cert and CA must be given.
type Config struct {
	Name      string // of what the files are for, in the log and in errors
	Cert, Key string // PEM files of a certificate with its chain, and of its key; empty: none
	CA        string // PEM file of the authorities that the other side is checked by; empty: none
	Every     time.Duration
	Now       func() time.Time // nil: the system's clock
	Logger    *zap.Logger      // nil: none
}

// Status is what is known of the files.
type Status struct {
	Subject string    // of the certificate
	Expires time.Time // the first instant at which a certificate of the chain is no longer valid; zero: there is no certificate
	Loaded  time.Time // when the files in force were read
	Err     error     // why the files as they are now cannot be used; nil: they are in force
}

// Files are certificates, keys and authorities that are read from files. They are safe
// for concurrent use.
type Files struct {
	cfg Config

	mu     sync.RWMutex
	now    *content
	failed [sha256.Size]byte // of the files that could not be used last
	err    error
	warned time.Time // when the log warned last
}

// content is what files said when they were read.
type content struct {
	sum    [sha256.Size]byte
	pair   *tls.Certificate // nil: none
	roots  *x509.CertPool   // nil: none
	status Status
}

// Open reads the files. A certificate that has expired is taken, with a word in the log:
// what is restarted at night should serve those who do not look.
func Open(cfg Config) (*Files, error) {
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, fmt.Errorf("TLS of %s: %w", cfg.Name, ErrHalfPair)
	}
	f := &Files{cfg: cfg}
	raw, sum, err := f.raw()
	if err == nil {
		f.now, err = f.parse(raw, sum)
	}
	if err != nil {
		return nil, fmt.Errorf("TLS of %s: %w", cfg.Name, err)
	}
	f.warn()
	return f, nil
}

// Run reads the files again whenever they change, until ctx ends, and warns of a
// certificate that expires soon.
func (f *Files) Run(ctx context.Context) error {
	for {
		if err := backoff.Wait(ctx, f.cfg.Every); err != nil {
			return nil //nolint:nilerr // the end of ctx is what stops it
		}
		_ = f.Reload() // the log and Status have it
		f.warn()
	}
}

// Reload reads the files again. If they cannot be used, it logs why, unless it has done
// so for the same content, and leaves in force what was read before.
func (f *Files) Reload() error {
	raw, sum, err := f.raw()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && sum == f.now.sum {
		f.err, f.failed = nil, [sha256.Size]byte{}
		return nil
	}
	if err != nil { // the error stands for the content that cannot be read
		sum = sha256.Sum256([]byte(err.Error()))
	}
	if f.err != nil && sum == f.failed {
		return f.err
	}
	var next *content
	if err == nil {
		next, err = f.parse(raw, sum)
	}
	if err == nil && next.expired(f.cfg.Now()) && !f.now.expired(f.cfg.Now()) {
		err = fmt.Errorf("%s: %w on %s", f.cfg.Cert, ErrExpired, next.status.Expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		f.err, f.failed = fmt.Errorf("TLS of %s: %w", f.cfg.Name, err), sum
		f.cfg.Logger.Error("the TLS files cannot be used; those read before stay in force",
			zap.String("server", f.cfg.Name), zap.Time("loaded", f.now.status.Loaded), zap.Error(err))
		return f.err
	}
	f.now, f.err, f.failed, f.warned = next, nil, [sha256.Size]byte{}, time.Time{}
	f.cfg.Logger.Info("the TLS files were read again", zap.String("server", f.cfg.Name),
		zap.String("subject", next.status.Subject), zap.Time("expires", next.status.Expires))
	return nil
}

// Status returns what is known of the files.
func (f *Files) Status() Status {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.now.status
	s.Err = f.err
	return s
}

// Name returns what the files are for.
func (f *Files) Name() string { return f.cfg.Name }

// Certificate returns the certificate in force. It is empty if there is none.
func (f *Files) Certificate() (tls.Certificate, error) {
	if c := f.content(); c.pair != nil {
		return *c.pair, nil
	}
	return tls.Certificate{}, nil
}

// Authorities returns the authorities in force, or nil if there are none: the system's
// count then.
func (f *Files) Authorities() (*x509.CertPool, error) { return f.content().roots, nil }

// Server returns a configuration for a server, whose connections take the files as they
// are then. protocols are those that it offers by ALPN, the preferred one first. There
// must be a certificate.
func (f *Files) Server(protocols ...string) *tls.Config {
	// One configuration for each content: tickets of sessions are sealed by its keys, so
	// that nobody resumes a session that an authority no longer in force let in.
	var mu sync.Mutex
	var of *content
	var config *tls.Config
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := f.content()
		mu.Lock()
		defer mu.Unlock()
		if of != now {
			of, config = now, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: []tls.Certificate{*now.pair}}
			if now.roots != nil {
				config.ClientCAs, config.ClientAuth = now.roots, tls.RequireAndVerifyClientCert
			}
		}
		return config, nil
	}
	return base
}

// Client returns a configuration for a client. Its connections take the certificate as
// it is then; the authorities are those of this call.
func (f *Files) Client() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.content().roots}
	if f.cfg.Cert != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return f.content().pair, nil
		}
	}
	return config
}

func (f *Files) content() *content {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.now
}

// warn logs that a certificate expires soon, or has expired, once a day.
func (f *Files) warn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, expires := f.cfg.Now(), f.now.status.Expires
	if expires.IsZero() || expires.Sub(now) > WarnWithin || !f.warned.IsZero() && now.Sub(f.warned) < warnEvery {
		return
	}
	f.warned = now
	fields := []zap.Field{zap.String("server", f.cfg.Name), zap.String("file", f.cfg.Cert), zap.String("subject", f.now.status.Subject), zap.Time("expires", expires)}
	if f.now.expired(now) {
		f.cfg.Logger.Warn("a certificate has expired, and clients refuse it: replace its files, which are read again by themselves", fields...)
		return
	}
	f.cfg.Logger.Warn("a certificate expires soon: replace its files, which are read again by themselves", fields...)
}

// files are the bytes of the three files.
type files struct{ cert, key, ca []byte }

// raw reads the files, and returns them with their sum.
func (f *Files) raw() (raw files, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, one := range []struct {
		path string
		to   *[]byte
	}{{f.cfg.Cert, &raw.cert}, {f.cfg.Key, &raw.key}, {f.cfg.CA, &raw.ca}} {
		if one.path != "" {
			if *one.to, err = readFile(one.path); err != nil {
				return files{}, sum, err
			}
		}
		fmt.Fprintf(h, "%d\n", len(*one.to))
		h.Write(*one.to)
	}
	return raw, [sha256.Size]byte(h.Sum(nil)), nil
}

// readFile reads a regular file of bounded size: others could let a reader wait for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostBytes+1))
	if err == nil && len(text) > mostBytes {
		err = fmt.Errorf("%s is larger than %d bytes, and no PEM file of certificates", path, mostBytes)
	}
	return text, err
}

// parse makes of the bytes of files what they say.
func (f *Files) parse(raw files, sum [sha256.Size]byte) (*content, error) {
	c := &content{sum: sum, status: Status{Loaded: f.cfg.Now()}}
	if f.cfg.Cert != "" {
		pair, err := tls.X509KeyPair(raw.cert, raw.key)
		switch {
		case err != nil && bytes.Contains(raw.key, []byte("ENCRYPTED")):
			return nil, fmt.Errorf("the key in %s is encrypted: write it without a passphrase into a file that only this user may read", f.cfg.Key)
		case err != nil:
			return nil, fmt.Errorf("%s and %s are no pair of a certificate and its key in PEM: %w", f.cfg.Cert, f.cfg.Key, err)
		}
		c.pair, c.status.Subject, c.status.Expires = &pair, pair.Leaf.Subject.String(), pair.Leaf.NotAfter
		for _, der := range pair.Certificate[1:] {
			link, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("%s: a certificate of the chain cannot be read: %w", f.cfg.Cert, err)
			}
			if link.NotAfter.Before(c.status.Expires) {
				c.status.Expires = link.NotAfter
			}
		}
	}
	if f.cfg.CA != "" {
		var err error
		if c.roots, err = authorities(raw.ca); err != nil {
			return nil, fmt.Errorf("%s: %w", f.cfg.CA, err)
		}
	}
	return c, nil
}

// authorities reads certificates in PEM. Text between them is left aside.
func authorities(text []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it has a block %q: leave the certificates of authorities alone in it", block.Type)
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", n+1, err)
		}
		pool.AddCert(one)
		n++
	}
	if n == 0 {
		return nil, errors.New("there is no certificate in PEM in it")
	}
	return pool, nil
}

// expired reports whether there is a certificate that is no longer valid.
func (c *content) expired(now time.Time) bool {
	return !c.status.Expires.IsZero() && !now.Before(c.status.Expires)
}
