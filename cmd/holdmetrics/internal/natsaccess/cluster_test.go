package natsaccess_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/cmd/holdmetrics/internal/natsaccess/natsaccesstest"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
)

var update = flag.Bool("update", false, "write deploy/nats/grants.conf")

// The file in deploy/nats is what the table of the roles says.
func TestGrantsFile(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := natsaccess.WriteGrants(&want, natsaccess.FirstGenerations()...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(natsaccesstest.Dir(), "grants.conf")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is not what roles.go says: run 'go test -run TestGrantsFile -update ./cmd/holdmetrics/internal/natsaccess'", path)
	}
}

// newCluster is a server with the configuration of deploy/nats, and the streams of a log.
func newCluster(t *testing.T) (*world, *natsaccesstest.Server) {
	t.Helper()
	s := natsaccesstest.Start(t)
	w := &world{t: t, url: s.URL, js: natstest.JetStreamAt(t, s.URL, s.AsAll())}
	w.fill()
	return w, s
}

// may are the attacks that a role of the cluster is there for, or that its users could
// make anyway.
var may = map[natsaccess.Role][]string{
	natsaccess.Exporter: {"list the streams", "look at the account"},
	natsaccess.Gateway: {
		"read the log", "read the records", "read the records directly", "read the keys", "look at the account", "publish to the log",
		"garbage in the records", // it says there that it runs
		"push snapshots into the log", "a snapshot into the log", "a snapshot into the records", "a description into the records",
		"listen to the answers of others", "a checkpoint",
	},
	natsaccess.Worker: {
		"read the log", "read the records", "read the records directly", "read the keys", "look at the account", "delete the snapshots", "purge the snapshots",
		"make a stream", "make a stream over the answers", "publish to the dead letters",
		"garbage in the records", "garbage in the snapshots", "a position", "a fence", "a lease",
		"push snapshots into the log", "a snapshot into the log", "a snapshot into the records", "a description into the records",
		"listen to the answers of others",
	},
}

// Each role of a cluster gets nowhere with what is not its own.
func TestClusterAttacks(t *testing.T) {
	t.Parallel()
	for _, role := range []natsaccess.Role{natsaccess.Producer, natsaccess.Reader, natsaccess.Exporter, natsaccess.Gateway, natsaccess.Worker} {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			w, s := newCluster(t)
			names := map[string]bool{}
			for _, a := range w.attacks() {
				names[a.name] = true
			}
			for _, name := range may[role] {
				if !names[name] {
					t.Errorf("there is no attack %q", name)
				}
			}
			w.attack(string(role), func(a attack) bool { return !slices.Contains(may[role], a.name) }, s.As(role))
			// What a role may do is not refused, or else the list is wrong.
			nc, err := nats.Connect(w.url, s.As(role), nats.Timeout(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			for _, a := range w.attacks() {
				if !slices.Contains(may[role], a.name) {
					continue
				}
				before := len(s.Violations())
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				_ = a.try(ctx, nc) // what came of it does not matter
				cancel()
				if after := s.Violations(); len(after) > before {
					t.Errorf("%s may %s, and it was refused: %s", role, a.name, after[before:])
				}
			}
		})
	}
}

// Nobody gets in without a key of a user, and each account apart has its part alone.
func TestClusterWhoGetsIn(t *testing.T) {
	t.Parallel()
	_, s := newCluster(t)
	_, unknown := natsaccesstest.NewUser(t)
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, unknown, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]nats.Option{
		"nobody":               by(""),
		"an unknown key":       by(seed),
		"a password":           nats.UserInfo("operator", "operator"),
		"a token":              nats.Token("operator"),
		"a name of an account": nats.UserInfo(natsaccess.LogAccount, ""),
	} {
		nc, err := nats.Connect(s.URL, option, nats.RootCAs(s.CA), nats.Timeout(time.Minute))
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
		if nc != nil {
			nc.Close()
		}
	}
	if nc, err := nats.Connect(s.URL, s.As(natsaccess.Operator), func(o *nats.Options) error { o.TLSConfig, o.RootCAsCB = nil, nil; return nil }, nats.Timeout(time.Minute)); err == nil {
		nc.Close()
		t.Error("a server of an unknown authority was trusted")
	}
}

// What the roles with accounts of their own are there for works on a cluster.
func TestClusterAllowed(t *testing.T) {
	t.Parallel()
	_, s := newCluster(t)
	producer := natstest.JetStreamAt(t, s.URL, s.As(natsaccess.Producer))
	ack, err := producer.Publish(t.Context(), "hold.events.alice", []byte(event))
	if err != nil || ack.Stream != ingest.StreamName {
		t.Errorf("publish: %v, %+v", err, ack)
	}
	reader := natstest.JetStreamAt(t, s.URL, s.As(natsaccess.Reader))
	bucket, err := reader.KeyValue(t.Context(), "HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := bucket.Get(t.Context(), "alice"); err != nil || string(entry.Value()) != "a snapshot" {
		t.Errorf("get: %v", err)
	}
	changes, err := reader.Conn().SubscribeSync("$KV.HOLD_STATS_1.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	worker := natstest.JetStreamAt(t, s.URL, s.As(natsaccess.Worker))
	if _, err := worker.Publish(t.Context(), "$KV.HOLD_STATS_1.bob", []byte("changed")); err != nil {
		t.Fatal(err)
	}
	if m, err := changes.NextMsgWithContext(t.Context()); err != nil || string(m.Data) != "changed" {
		t.Errorf("a change: %v", err)
	}
	exporter := natstest.JetStreamAt(t, s.URL, s.As(natsaccess.Exporter))
	seen := map[string]bool{}
	list := exporter.ListStreams(t.Context())
	for info := range list.Info() {
		seen[info.Config.Name] = true
	}
	if list.Err() != nil || !seen[ingest.StreamName] {
		t.Errorf("streams: %v, %v", slices.Collect(maps.Keys(seen)), list.Err())
	}
	log, err := exporter.Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	for range log.ListConsumers(t.Context()).Info() {
	}
	if _, err := exporter.AccountInfo(t.Context()); err != nil {
		t.Error(err)
	}
	if v := s.Violations(); len(v) > 0 {
		t.Error(v)
	}
}

// A configuration without its keys, or with a wrong one, is no configuration.
func TestClusterWithoutKeys(t *testing.T) {
	t.Parallel()
	if _, err := server.ProcessConfigFile(filepath.Join(natsaccesstest.Dir(), "holdmetrics.conf")); err == nil {
		t.Error("a server would start without keys")
	}
}
