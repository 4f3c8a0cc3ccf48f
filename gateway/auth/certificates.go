package auth

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Certificates maps the names of client certificates to scopes. Without an entry a
// certificate may do nothing, however good it is: that a company's authority has signed it
// says who somebody is, and not what he may do.
type Certificates struct {
	entries []certificateEntry
}

// certificateEntry gives scopes to the certificates of some names.
type certificateEntry struct {
	pieces []string // a pattern
	scopes Scope
}

// ParseCertificates reads entries such as "worker-1=write" and "*.ops.example.com=read+admin".
// The first entry that a name matches counts.
func ParseCertificates(texts []string) (*Certificates, error) {
	c := &Certificates{}
	for _, text := range texts {
		at := strings.LastIndexByte(text, '=')
		if at < 0 {
			return nil, fmt.Errorf("%q is not NAME=SCOPE such as worker-1=write or ops=read+admin", text)
		}
		pieces, ok := cutPattern(text[:at])
		if !ok {
			return nil, fmt.Errorf("%q %w", text[:at], ErrNames)
		}
		scopes, err := ParseScopes(strings.Split(text[at+1:], "+"))
		if err != nil {
			return nil, err
		}
		c.entries = append(c.entries, certificateEntry{pieces, scopes})
	}
	return c, nil
}

// certificateNames are the names of a certificate: its DNS names, URIs and mail addresses.
// The common name counts only if there are none of those.
func certificateNames(cert *x509.Certificate) []string {
	names := slices.Concat(cert.DNSNames, cert.EmailAddresses)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 && cert.Subject.CommonName != "" {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

// principal returns the principal of a certificate that was verified.
func (c *Certificates) principal(cert *x509.Certificate) (*Principal, error) {
	names := certificateNames(cert)
	for _, e := range c.entries {
		for _, name := range names {
			if len(e.pieces) == 1 && e.pieces[0] == name || len(e.pieces) > 1 && matches(e.pieces, name) {
				return &Principal{Kind: Certificate, Name: name, Scopes: e.scopes, Expires: cert.NotAfter.UnixNano()}, nil
			}
		}
	}
	return nil, Rejected(Invalid, "the client certificate has no scopes here", fmt.Sprintf("its names are %q", names))
}
