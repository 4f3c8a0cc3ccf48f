package connect_test

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/tlsfiles/tlstest"
)

// Each way of the settings to say who connects lets in who has the secret, and nobody else.
func TestUserOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, stranger := tlstest.New(t), tlstest.New(t)
	ca, foreignCA := authority.Write(t, dir, "ca.pem"), stranger.Write(t, dir, "foreign.pem")
	serving := authority.Issue(t, tlstest.Cert{}).TLS(t)
	cert, key := authority.Issue(t, tlstest.Cert{}).Write(t, dir, "client")
	foreignCert, foreignKey := stranger.Issue(t, tlstest.Cert{}).Write(t, dir, "foreign-client")
	withTLS := func(o *server.Options) {
		o.TLS, o.TLSTimeout = true, 60
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving}}
	}
	mutual := func(o *server.Options) {
		withTLS(o)
		o.TLSVerify, o.TLSConfig.ClientAuth, o.TLSConfig.ClientCAs = true, tls.RequireAndVerifyClientCert, authority.Pool()
	}
	for name, c := range map[string]struct {
		server      func(*server.Options)
		good, wrong settings.NATS
	}{
		"password":       {func(o *server.Options) { o.Username, o.Password = "gateway", "right" }, settings.NATS{User: "gateway", Password: "right"}, settings.NATS{User: "gateway", Password: "wrong"}},
		"token":          {func(o *server.Options) { o.Authorization = "right" }, settings.NATS{Token: "right"}, settings.NATS{Token: "wrong"}},
		"TLS":            {withTLS, settings.NATS{CA: ca}, settings.NATS{CA: foreignCA}},
		"mutual":         {mutual, settings.NATS{CA: ca, Cert: cert, Key: key}, settings.NATS{CA: ca, Cert: foreignCert, Key: foreignKey}},
		"no certificate": {mutual, settings.NATS{CA: ca, Cert: cert, Key: key}, settings.NATS{CA: ca}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Listening, c.server)
			good, err := connect.UserOptions(&c.good)
			if err != nil {
				t.Fatal(err)
			}
			natstest.JetStreamAt(t, s.ClientURL(), good...)
			for _, bad := range []settings.NATS{c.wrong, {}} {
				options, err := connect.UserOptions(&bad)
				if err != nil {
					t.Fatal(err)
				}
				if nc, err := nats.Connect(s.ClientURL(), append(options, nats.Timeout(time.Minute))...); err == nil {
					nc.Close()
					t.Errorf("let in: %+v", bad)
				}
			}
		})
	}
}

// Certificates are read again for each connection.
func TestNATSCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	former, authority := tlstest.New(t), tlstest.New(t)
	serving := authority.Issue(t, tlstest.Cert{}).TLS(t)
	s := natstest.Start(t, natstest.Listening, func(o *server.Options) {
		o.TLS, o.TLSTimeout, o.TLSConfig = true, 60, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving}}
	})
	ca := former.Write(t, dir, "ca.pem")
	options, err := connect.UserOptions(&settings.NATS{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(s.ClientURL(), append(options, nats.Timeout(time.Minute))...); err == nil {
		nc.Close()
		t.Fatal("a server of an unknown authority was trusted")
	}
	if err := os.Rename(authority.Write(t, dir, "new.pem"), ca); err != nil {
		t.Fatal(err)
	}
	natstest.JetStreamAt(t, s.ClientURL(), options...)
}
