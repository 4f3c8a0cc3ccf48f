package main

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/cmd/holdmetrics/internal/natsaccess/natsaccesstest"
	"holdmetrics/internal/natstest"
)

// On a NATS server with the configuration of deploy/nats, gateways, workers and commands
// do what they are there for, each with credentials of its own, and the server refuses
// none of them anything.
func TestRolesOfCluster(t *testing.T) {
	t.Parallel()
	patiently(t)
	server := natsaccesstest.Start(t)
	as := func(role natsaccess.Role) map[string]string {
		return map[string]string{"NATS_URL": server.URL, "NATS_CREDS": server.Seed(role), "NATS_TLS_CA": server.CA}
	}
	said := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		env := as(natsaccess.Operator)
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out, getenv: func(name string) string { return env[name] }}); code != want {
			t.Fatalf("%v: exit %d: %s", args, code, &out)
		}
		return out.String()
	}
	signing := filepath.Join(t.TempDir(), "signing.key")
	said(exitOK, "audit", "keygen", "--name", "log", "--out", signing)

	g := startIn(t, as(natsaccess.Gateway), "gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--partitions", "4", "--signing-key", signing)
	conn := dialGateway(t, g.address(t, "gRPC"))
	worker := func(id string) *command {
		return startIn(t, as(natsaccess.Worker), "worker", "--store", "embedded", "--data-dir", t.TempDir(), "--worker-id", id,
			"--metrics-address", "127.0.0.1:0", "--lease", "60s", "--partitions", "4")
	}
	a := worker("a")
	shares(t, conn, map[string]int{"a": 4})
	want := map[string]int64{}
	for i := range 10 {
		holder := fmt.Sprintf("h%d", i)
		record(t, conn, holder, 1000, 1000+int64(i))
		want[holder] = int64(i)
	}
	producer := natstest.JetStreamAt(t, server.URL, server.As(natsaccess.Producer))
	send := func(subject, body string) {
		t.Helper()
		if _, err := producer.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: nats.Header{"Content-Type": {"application/json"}}, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	send("hold.events.outside", `{"token_id":"t","holder_id":"outside","start":"1970-01-01T00:00:10Z","end":"1970-01-01T00:01:50Z"}`)
	send("hold.events.bad", "no event")
	want["outside"] = 100
	snapshots(t, conn, want)
	reader := natstest.JetStreamAt(t, server.URL, server.As(natsaccess.Reader))
	bucket, err := reader.KeyValue(t.Context(), "HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Get(t.Context(), "outside"); err != nil {
		t.Error(err)
	}

	// Partitions move between workers.
	b := worker("b")
	shares(t, conn, map[string]int{"a": 2, "b": 2})
	b.finish(t)
	shares(t, conn, map[string]int{"a": 4})

	// The commands of an operator.
	at := g.address(t, "HTTP")
	said(exitOK, "status", "--server", conn.Target())
	eventually(t, "the dead letter", func() error {
		if out := said(exitOK, "dlq", "list"); !strings.Contains(out, "malformed") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	said(exitOK, "dlq", "drop", "--all", "--yes")
	said(exitOK, "log", "verify")
	said(exitOK, "log", "--limit", "2")
	said(exitOK, "rebuild", "--name", "2", "--verify")
	said(exitOK, "generations")
	said(exitOK, "activate", "2")
	snapshots(t, conn, want)
	said(exitOK, "rollback")
	said(exitOK, "drop", "2", "--yes")
	said(exitOK, "seal", "--before", "1970-01-01T00:00:01Z")
	backup := filepath.Join(t.TempDir(), "log.backup")
	said(exitOK, "backup", backup)
	said(exitOK, "backup", "verify", backup)
	said(exitOK, "log", "repair", "--settings")
	said(exitOK, "generations", "repair")
	said(exitOK, "audit", "checkpoint", "--server", conn.Target())

	// Keys, and what is refused without one.
	guarded := startIn(t, as(natsaccess.Gateway), "gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--partitions", "4", "--auth", "on")
	web := guarded.address(t, "HTTP")
	said(exitOK, "keys", "create", "shop", "--scopes", "read")
	said(exitOK, "keys", "list")
	if code, text := get(t, "http://"+web+"/stats"); code != http.StatusUnauthorized {
		t.Errorf("%d %s", code, text)
	}
	eventually(t, "the refusal in the audit log", func() error {
		if out := said(exitOK, "audit-log"); !strings.Contains(out, "refus") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	said(exitOK, "keys", "revoke", "shop")
	if code, text := get(t, "http://"+at+"/readyz"); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	guarded.finish(t)
	a.finish(t)
	g.finish(t)
	// A gateway with the credentials of an operator changes the log.
	changed := startIn(t, as(natsaccess.Operator), "gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--partitions", "4", "--signing-key", signing, "--max-clock-skew", "7s")
	changed.address(t, "gRPC")
	changed.finish(t)
	if refused := server.Violations(); len(refused) > 0 {
		t.Errorf("refused:\n%s", strings.Join(refused, "\n"))
	}
}
