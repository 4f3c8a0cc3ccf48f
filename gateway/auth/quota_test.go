package auth

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// No more is admitted than the rate allows, but for what one call takes at once. A caller
// that comes back at the time of its refusal is admitted.
func TestBuckets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.1, 1000).Draw(t, "rate")
		now := int64(1e18)
		began := now
		u := NewUsage(Quotas{Events: rate}, func() int64 { return now })
		admitted, largest := 0.0, 0.0
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			now += rapid.Int64Range(0, 3e9).Draw(t, "pause")
			n := rapid.IntRange(1, 500).Draw(t, "events")
			refused := u.take(n, 0)
			if refused != nil {
				now += int64(refused.After) + 1
				if again := u.take(n, 0); again != nil {
					t.Fatalf("told to come back in %v, and refused then: %v", refused.After, again)
				}
			}
			admitted, largest = admitted+float64(n), max(largest, float64(n))
		}
		if most := rate*float64(now-began)/1e9 + burst(rate) + largest + 1e-3; admitted > most {
			t.Fatalf("%v were admitted, and %v is the most", admitted, most)
		}
	})
}

func TestSession(t *testing.T) {
	t.Parallel()
	s := new(Session)
	ctx, cancel := context.WithCancelCause(t.Context())
	release := s.bind(cancel)
	released, cancelReleased := context.WithCancelCause(t.Context())
	s.bind(cancelReleased)()
	gone := errors.New("gone")
	s.End(gone)
	s.End(errors.New("again"))
	if context.Cause(ctx) != gone || released.Err() != nil || s.Err() != gone {
		t.Errorf("%v, %v, %v", context.Cause(ctx), released.Err(), s.Err())
	}
	release()
	late, cancelLate := context.WithCancelCause(t.Context())
	s.bind(cancelLate)()
	if context.Cause(late) != gone {
		t.Errorf("bound after the end: %v", context.Cause(late))
	}
	p := &Principal{Kind: Key, Expires: time.Now().Add(10 * time.Millisecond).UnixNano(), Session: new(Session)}
	bound, done := p.bind(t.Context(), time.Now().UnixNano())
	<-bound.Done()
	if !errors.Is(context.Cause(bound), ErrUnauthenticated) {
		t.Errorf("expired: %v", context.Cause(bound))
	}
	done()
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	c, err := ParseCertificates([]string{"worker-1=write", "*.ops.example.com=read+admin"})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		cert x509.Certificate
		want string
	}{
		{x509.Certificate{Subject: pkix.Name{CommonName: "worker-1"}}, "certificate:worker-1 write"},
		{x509.Certificate{DNSNames: []string{"a.ops.example.com"}}, "certificate:a.ops.example.com read,admin"},
		// The common name says nothing beside names that authorities check.
		{x509.Certificate{Subject: pkix.Name{CommonName: "worker-1"}, DNSNames: []string{"other"}}, ""},
		{x509.Certificate{Subject: pkix.Name{CommonName: "worker-12"}}, ""},
		{x509.Certificate{DNSNames: []string{"ops.example.com"}}, ""},
		{x509.Certificate{}, ""},
	} {
		k.cert.NotAfter = time.Unix(2e9, 0)
		p, err := c.principal(&k.cert)
		got := ""
		if err == nil {
			got = p.String() + " " + p.Scopes.String()
		}
		if got != k.want || err != nil && !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%q %q: %q, %v", k.cert.Subject.CommonName, k.cert.DNSNames, got, err)
		}
	}
	for _, bad := range []string{"", "a", "=read", "a=", "a=all", "a=read,write", `a\=read`} {
		if _, err := ParseCertificates([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
