package main

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/immutest"
	"holdmetrics/internal/tlsfiles/tlstest"
)

// as runs a command with settings of the environment beside those of the cluster.
func (c *cluster) as(env map[string]string, args ...string) (string, int) {
	c.t.Helper()
	var out bytes.Buffer
	code := run(c.t.Context(), args, func(name string) string {
		if value, ok := env[name]; ok {
			return value
		}
		return c.getenv(name)
	}, &out, &out)
	return out.String(), code
}

// TestImmudbOverTLS copies and verifies over TLS with certificates of both sides, by
// password and by token, into a database of its own.
func TestImmudbOverTLS(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(7)
	// A database is made by an operator; here before TLS is on.
	c.immudb.CreateDatabase(t, "audits")
	c.immudb.Stop()
	authority, stranger := tlstest.New(t), tlstest.New(t)
	c.immudb = immutest.StartTLS(t, c.immuDir, &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, tlstest.Cert{}).TLS(t)}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
	dir := t.TempDir()
	ca := authority.Write(t, dir, "ca.pem")
	cert, key := authority.Issue(t, tlstest.Cert{}).Write(t, dir, "client")
	otherCert, otherKey := stranger.Issue(t, tlstest.Cert{}).Write(t, dir, "stranger")
	secure := map[string]string{"IMMUDB_CA": ca, "IMMUDB_CERT": cert, "IMMUDB_KEY": key, "IMMUDB_DATABASE": "audits"}
	with := func(name, value string) map[string]string {
		env := map[string]string{name: value}
		for k, v := range secure {
			if _, ok := env[k]; !ok {
				env[k] = v
			}
		}
		return env
	}

	if out, code := c.as(secure, "follow", "--once"); code != 0 {
		t.Fatal(out)
	}
	if out, code := c.as(secure, "verify", "--no-scores"); code != 0 || !strings.Contains(out, "7 messages") {
		t.Fatal(out)
	}
	flags := []string{"verify", "--no-scores", "--immudb-tls", "--immudb-ca", ca, "--immudb-cert", cert, "--immudb-key", key, "--immudb-url", "immudb://" + c.immudb.Address + "/audits"}
	if out, code := c.as(nil, flags...); code != 0 {
		t.Fatal(out)
	}

	pool := authority.Issue(t, tlstest.Cert{}).TLS(t)
	token := c.immudb.Token(t, "audits", credentials.NewTLS(&tls.Config{RootCAs: authority.Pool(), Certificates: []tls.Certificate{pool}, MinVersion: tls.VersionTLS12}))
	c.send(3)
	file := c.file("token", token+"\n")
	byToken := with("IMMUDB_PASSWORD", "not-used-word")
	byToken["IMMUDB_TOKEN_FILE"] = file
	if out, code := c.as(byToken, "follow", "--once"); code != 0 || strings.Contains(out, token) {
		t.Fatal(out)
	}
	if out, code := c.as(byToken, "verify", "--no-scores"); code != 0 || !strings.Contains(out, "10 messages") {
		t.Fatal(out)
	}
	byToken["IMMUDB_DATABASE"] = immu.DefaultDatabase
	other := t.TempDir() + "/other.state"
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"plain":             {map[string]string{"IMMUDB_DATABASE": "audits"}, []string{"verify"}, "immudb does not answer"},
		"another authority": {with("IMMUDB_CA", stranger.Write(t, dir, "stranger-ca.pem")), []string{"verify"}, "certificate signed by unknown authority"},
		"another client":    {with("IMMUDB_CERT", otherCert), []string{"verify", "--immudb-key", otherKey}, "does not answer"},
		"no client":         {with("IMMUDB_CERT", ""), []string{"verify"}, "does not answer"},
		"a wrong key":       {with("IMMUDB_KEY", otherKey), []string{"verify"}, "--immudb-cert: "},
		"no authority":      {with("IMMUDB_CA", key), []string{"verify"}, "--immudb-ca: "},
		"another database":  {with("IMMUDB_DATABASE", "defaultdb"), []string{"verify"}, "another immudb server or database"},
		"a foreign token":   {byToken, []string{"verify", "--state", other}, "the token is of database audits, not defaultdb"},
		"a bad token":       {with("IMMUDB_TOKEN", token[:len(token)-4]+"AAAA"), []string{"verify"}, "refuses the user, the password or the token"},
	} {
		out, code := c.as(test.env, append(test.args, "--no-scores")...)
		if code == 0 || !strings.Contains(out, test.want) || strings.Contains(out, token) {
			t.Errorf("%s: no %q in %s", name, test.want, out)
		}
	}
}
