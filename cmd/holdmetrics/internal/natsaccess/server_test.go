package natsaccess_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/gateway/auth/auditlog"
	"holdmetrics/gateway/auth/keys"
	"holdmetrics/ingest"
	"holdmetrics/ingest/transparency"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

// world is a server with a gate, and the streams of a log.
type world struct {
	t     *testing.T
	users natsaccess.Users
	gate  *natsaccess.Gate
	url   string
	js    jetstream.JetStream // of the process itself
}

func newWorld(t *testing.T, anonymous bool) *world {
	t.Helper()
	w := &world{t: t, users: natsaccess.UsersOf(t.TempDir())}
	if err := w.users.EnsureOperator(); err != nil {
		t.Fatal(err)
	}
	w.gate = natsaccess.NewGate(w.users, anonymous, zap.NewNop())
	s := natstest.Start(t, natstest.Listening, func(o *server.Options) {
		o.CustomClientAuthentication, o.AlwaysEnableNonce = w.gate, true
	})
	if err := w.gate.Attach(s); err != nil {
		t.Fatal(err)
	}
	w.url, w.js = s.ClientURL(), natstest.JetStream(t, s)
	w.fill()
	if err := w.gate.SetGenerations([]string{generation.First}); err != nil {
		t.Fatal(err)
	}
	return w
}

// fill makes the streams of a log, with something in each.
func (w *world) fill() {
	t := w.t
	t.Helper()
	if _, err := ingest.OpenLog(t.Context(), w.js, ingest.LogConfig{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	records, err := generation.Open(t.Context(), w.js, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Begin(t.Context(), generation.Record{Name: generation.First, Policy: "merge", Created: time.Now(), Built: true}); err != nil {
		t.Fatal(err)
	}
	snapshots, err := projection.OpenSnapshots(t.Context(), w.js, projection.SnapshotConfig{Generation: generation.First, Async: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshots.Close)
	if _, err := w.js.Publish(t.Context(), "$KV.HOLD_STATS_1.alice", []byte("a snapshot")); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"HOLD_LEASES_1", keys.Bucket, transparency.Bucket} {
		if _, err := w.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket}); err != nil {
			t.Fatal(err)
		}
	}
	if err := auditlog.Open(t.Context(), w.js, 1); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{ingest.LogSubject(0), "hold.audit.act", "$KV.HOLD_KEYS.key", "$KV.HOLD_AUDIT.checkpoint"} {
		if _, err := w.js.Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// seed writes a seed into a file of its own.
func (w *world) seed(text []byte) string {
	path := filepath.Join(w.t.TempDir(), "seed")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// create makes a user and returns the file of his seed.
func (w *world) create(name string, role natsaccess.Role) string {
	w.t.Helper()
	seed, err := w.users.Create(natsaccess.User{Name: name, Role: role}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.gate.Look()
	return w.seed(seed)
}

// by returns the option of a connection with a seed; an empty path: no credentials.
func by(path string) nats.Option {
	if path == "" {
		return func(*nats.Options) error { return nil }
	}
	public, err := natsaccess.PublicOf(path)
	if err != nil {
		panic(err)
	}
	return nats.Nkey(public, func(nonce []byte) ([]byte, error) { return natsaccess.Sign(path, nonce) })
}

// state is what there is of each stream, by its name: its settings and its messages. The
// event that producers may send leaves no trace in it.
func (w *world) state() map[string]string {
	state := map[string]string{}
	list := w.js.ListStreams(w.t.Context())
	for info := range list.Info() {
		config, err := json.Marshal(info.Config)
		if err != nil {
			w.t.Fatal(err)
		}
		stream, err := w.js.Stream(w.t.Context(), info.Config.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		text := string(config)
		for at := info.State.FirstSeq; at > 0 && at <= info.State.LastSeq; at++ {
			m, err := stream.GetMsg(w.t.Context(), at)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
			case err != nil:
				w.t.Fatal(err)
			case string(m.Data) != event:
				text += fmt.Sprintf("\n%d %s %q", at, m.Subject, m.Data)
			}
		}
		state[info.Config.Name] = text
	}
	if list.Err() != nil {
		w.t.Fatal(list.Err())
	}
	return state
}

// event is what attacks send as an event.
const event = "an event"

// attack is something that no outside user but an operator may do. It reports whether it
// got anywhere.
type attack struct {
	name string
	try  func(ctx context.Context, nc *nats.Conn) error
	own  bool // the test itself writes something
}

// request sends a request and returns an error unless it was answered without an error.
func request(subject, body string) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		m, err := nc.RequestWithContext(ctx, subject, []byte(body))
		if err != nil {
			return err
		}
		if strings.Contains(string(m.Data), `"error":`) || m.Header.Get("Status") != "" {
			return errors.New(string(m.Data) + m.Header.Get("Status"))
		}
		return nil
	}
}

// replied publishes what is allowed, with a subject of the log as the address of the answer.
func replied(subject, body, reply string) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(body)}); err != nil {
			return err
		}
		_ = nc.FlushWithContext(ctx)
		return errors.New("nothing to see here; the state tells")
	}
}

// listens subscribes, and reports whether a message came while others are published.
func (w *world) listens(subject string) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		sub, err := nc.SubscribeSync(subject)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := nc.FlushWithContext(ctx); err != nil {
			return err
		}
		for _, s := range []string{"hold.log.99", "_INBOX.other.1", "$KV.HOLD_META.none", "hold.ctl.backup.x", "$SYS.ACCOUNT.x.CONNECT"} {
			if err := w.js.Conn().Publish(s, []byte("x")); err != nil {
				return err
			}
		}
		if err := w.js.Conn().FlushWithContext(ctx); err != nil {
			return err
		}
		if err := nc.FlushWithContext(ctx); err != nil { // what was published would be here by then
			return err
		}
		_, err = sub.NextMsg(20 * time.Millisecond)
		return err
	}
}

func (w *world) attacks() []attack {
	events := func(change func(*jetstream.StreamConfig)) string {
		s, err := w.js.Stream(w.t.Context(), ingest.StreamName)
		if err != nil {
			w.t.Fatal(err)
		}
		c := s.CachedInfo().Config
		change(&c)
		text, err := json.Marshal(c)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(text)
	}
	push := `{"stream_name":"KV_HOLD_STATS_1","config":{"name":"x","deliver_subject":"hold.log.0","ack_policy":"none","deliver_policy":"all"},"action":"create"}`
	return []attack{
		{"delete the log", request("$JS.API.STREAM.DELETE.HOLD_EVENTS", ""), false},
		{"delete the records", request("$JS.API.STREAM.DELETE.KV_HOLD_META", ""), false},
		{"delete the snapshots", request("$JS.API.STREAM.DELETE.KV_HOLD_STATS_1", ""), false},
		{"purge the log", request("$JS.API.STREAM.PURGE.HOLD_EVENTS", ""), false},
		{"purge the dead letters", request("$JS.API.STREAM.PURGE.HOLD_DLQ", ""), false},
		{"purge the snapshots", request("$JS.API.STREAM.PURGE.KV_HOLD_STATS_1", ""), false},
		{"delete a message", request("$JS.API.STREAM.MSG.DELETE.KV_HOLD_META", `{"seq":1}`), false},
		{"seal the stream", request("$JS.API.STREAM.UPDATE.HOLD_EVENTS", events(func(c *jetstream.StreamConfig) { c.Sealed = true })), false},
		{"seal history", request("$JS.API.STREAM.UPDATE.HOLD_EVENTS", events(func(c *jetstream.StreamConfig) { c.Metadata["holdmetrics_seal_1"] = "2030-01-01T00:00:00Z" })), false},
		{"cut the log", request("$JS.API.STREAM.UPDATE.HOLD_EVENTS", events(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })), false},
		{"make a stream", request("$JS.API.STREAM.CREATE.X", `{"name":"X","subjects":["x.>"],"storage":"memory"}`), false},
		{"make a stream over the answers", request("$JS.API.STREAM.CREATE.X", `{"name":"X","subjects":["_INBOX.>"],"storage":"file"}`), false},
		{"push snapshots into the log", request("$JS.API.CONSUMER.CREATE.KV_HOLD_STATS_1.x", push), false},
		{"push snapshots into the log by the former request", request("$JS.API.CONSUMER.DURABLE.CREATE.KV_HOLD_STATS_1.x", strings.Replace(push, `"name"`, `"durable_name"`, 1)), false},
		{"read the log", request("$JS.API.STREAM.MSG.GET.HOLD_EVENTS", `{"seq":1}`), false},
		{"read the records", request("$JS.API.STREAM.MSG.GET.KV_HOLD_META", `{"seq":1}`), false},
		{"read the records directly", request("$JS.API.DIRECT.GET.KV_HOLD_META.$KV.HOLD_META.active", ""), false},
		{"list the streams", request("$JS.API.STREAM.NAMES", ""), false},
		{"look at the account", request("$JS.API.INFO", ""), false},
		{"take a copy", request("$JS.API.STREAM.SNAPSHOT.HOLD_EVENTS", `{"deliver_subject":"_INBOX.x"}`), false},
		{"restore a stream", request("$JS.API.STREAM.RESTORE.X", `{"config":{"name":"X"},"state":{}}`), false},
		{"publish to the log", request("hold.log.0", "x"), false},
		{"publish to the dead letters", request("hold.dlq.0.1.0", "x"), false},
		{"begin an import", request("hold.import.1", "x"), false},
		{"garbage in the records", request("$KV.HOLD_META.active", "garbage"), false},
		{"garbage in the snapshots", request("$KV.HOLD_STATS_1.alice", "garbage"), false},
		{"a position", request("$KV.HOLD_STATS_1._pos.0", "garbage"), false},
		{"a fence", request("$KV.HOLD_STATS_1._fence.0", "garbage"), false},
		{"a lease", request("$KV.HOLD_LEASES_1.p.0", "garbage"), false},
		{"the server's health", request("$SYS.REQ.SERVER.PING", ""), false},
		{"the server's accounts", request("$SYS.REQ.ACCOUNT.PING.CONNZ", ""), false},
		{"kick a client", request("$SYS.REQ.SERVER.PING.KICK", `{"cid":1}`), false},
		{"the files of a backup", request("hold.ctl.backup.begin", "{}"), false},
		{"an answer into the log", replied("hold.events.alice", event, "hold.log.1"), false},
		{"an answer into the records", replied("hold.events.alice", event, "$KV.HOLD_META.active"), false},
		{"a snapshot into the log", replied("$JS.API.DIRECT.GET.KV_HOLD_STATS_1.$KV.HOLD_STATS_1.alice", "", "hold.log.1"), false},
		{"a snapshot into the records", replied("$JS.API.STREAM.MSG.GET.KV_HOLD_STATS_1", `{"seq":1}`, "$KV.HOLD_META.active"), false},
		{"a description into the records", replied("$JS.API.STREAM.INFO.KV_HOLD_STATS_1", "", "$KV.HOLD_META.active"), false},
		{"a key", request("$KV.HOLD_KEYS.key", "garbage"), false},
		{"a checkpoint", request("$KV.HOLD_AUDIT.checkpoint", "garbage"), false},
		{"an act of an operator", request("hold.audit.act", "garbage"), false},
		{"read the keys", request("$JS.API.STREAM.MSG.GET.KV_HOLD_KEYS", `{"seq":1}`), false},
		{"delete the keys", request("$JS.API.STREAM.DELETE.KV_HOLD_KEYS", ""), false},
		{"delete the audit log", request("$JS.API.STREAM.DELETE.HOLD_AUDIT_LOG", ""), false},
		{"delete the checkpoints", request("$JS.API.STREAM.DELETE.KV_HOLD_AUDIT", ""), false},
		{"purge the records", request("$JS.API.STREAM.PURGE.KV_HOLD_META", ""), false},
		{"purge the keys", request("$JS.API.STREAM.PURGE.KV_HOLD_KEYS", ""), false},
		{"purge the checkpoints", request("$JS.API.STREAM.PURGE.KV_HOLD_AUDIT", ""), false},
		{"publish a raw event in the name of the log", request("hold.import.x.0", "x"), false},
		{"listen to everything", w.listens(">"), true},
		{"listen to the log", w.listens("hold.log.*"), true},
		{"listen to the records", w.listens("$KV.HOLD_META.>"), true},
		{"listen to requests", w.listens("hold.ctl.>"), true},
		{"listen to the answers of others", w.listens("_INBOX.>"), true},
		{"listen to the system", w.listens("$SYS.>"), true},
	}
}

// Users without credentials, producers and readers get nowhere with what is not theirs.
func TestAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	roles := map[string]string{"anonymous": "", "producer": w.create("shop", natsaccess.Producer), "reader": w.create("board", natsaccess.Reader)}
	for role, seed := range roles {
		w.attack(role, func(attack) bool { return true }, by(seed))
	}
}

// attack connects as a user, and tries what he may not do.
func (w *world) attack(who string, forbidden func(attack) bool, as nats.Option) {
	t := w.t
	t.Helper()
	var refused atomic.Pointer[context.CancelFunc] // of the attack that goes on: the server says what it refuses
	nc, err := nats.Connect(w.url, as, nats.Timeout(time.Minute), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {
		if cancel := refused.Load(); cancel != nil {
			(*cancel)()
		}
	}))
	if err != nil {
		t.Fatal(who, err)
	}
	t.Cleanup(nc.Close)
	for _, a := range w.attacks() {
		if !forbidden(a) {
			continue
		}
		before := w.state()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		refused.Store(&cancel)
		if err := a.try(ctx, nc); err == nil {
			t.Errorf("%s: %s: it worked", who, a.name)
		}
		cancel()
		if after := w.state(); !a.own && !maps.Equal(before, after) {
			t.Errorf("%s: %s: %s", who, a.name, differing(before, after))
		}
	}
}

// differing returns what has changed.
func differing(before, after map[string]string) string {
	for name, text := range after {
		if before[name] != text {
			return fmt.Sprintf("%s\nwas %s\nis  %s", name, before[name], text)
		}
	}
	return "a stream is gone"
}

// What each role is there for works.
func TestAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	for role, seed := range map[string]string{"anonymous": "", "producer": w.create("shop", natsaccess.Producer)} {
		js := natstest.JetStreamAt(t, w.url, by(seed))
		ack, err := js.Publish(t.Context(), "hold.events.alice", []byte("event"))
		if err != nil || ack.Stream != ingest.StreamName {
			t.Errorf("%s: publish: %v, %+v", role, err, ack)
		}
		if _, err := js.Conn().RequestWithContext(t.Context(), "hold.events.a.b", nil); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: a wrong subject: %v", role, err)
		}
		if err := js.Conn().Publish("hold.events.bob", []byte("event")); err != nil {
			t.Error(err)
		}
	}
	reader := natstest.JetStreamAt(t, w.url, by(w.create("board", natsaccess.Reader)))
	bucket, err := reader.KeyValue(t.Context(), "HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := bucket.Get(t.Context(), "alice")
	if err != nil || string(entry.Value()) != "a snapshot" {
		t.Errorf("get: %v", err)
	}
	changes, err := reader.Conn().SubscribeSync("$KV.HOLD_STATS_1.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.Publish(t.Context(), "$KV.HOLD_STATS_1.bob", []byte("changed")); err != nil {
		t.Fatal(err)
	}
	if m, err := changes.NextMsgWithContext(t.Context()); err != nil || string(m.Data) != "changed" {
		t.Errorf("a change: %v", err)
	}
	// All snapshots at once.
	all, err := reader.Conn().SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Conn().PublishRequest("$JS.API.DIRECT.GET.KV_HOLD_STATS_1", all.Subject, []byte(`{"multi_last":["$KV.HOLD_STATS_1.>"],"batch":100}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a snapshot", "changed", ""} {
		if m, err := all.NextMsgWithContext(t.Context()); err != nil || string(m.Data) != want {
			t.Errorf("all snapshots: %v, want %q", err, want)
		}
	}
	operator := natstest.JetStreamAt(t, w.url, by(w.users.SeedPath()))
	if _, err := ingest.FindLog(t.Context(), operator); err != nil {
		t.Error(err)
	}
	meta, err := operator.KeyValue(t.Context(), generation.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := meta.Put(t.Context(), "gen.x", []byte("{}")); err != nil {
		t.Error(err)
	}
}

// A user that was revoked is gone at once, and nobody gets in by another key, another's
// key, a password or a token.
func TestWhoGetsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := natsaccess.PublicOf(w.users.SeedPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]nats.Option{
		"nobody":               by(""),
		"an unknown key":       by(w.seed(unknown)),
		"the operator's key":   nats.Nkey(operator, pair.Sign),
		"a password":           nats.UserInfo("operator", "operator"),
		"a token":              nats.Token("operator"),
		"a name of an account": nats.UserInfo("$G", ""),
	} {
		nc, err := nats.Connect(w.url, option, nats.Timeout(time.Minute))
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
		if nc != nil {
			nc.Close()
		}
	}
	seed := w.create("shop", natsaccess.Producer)
	ended := make(chan error, 4)
	nc, err := nats.Connect(w.url, by(seed), nats.Timeout(time.Minute), nats.NoReconnect(), nats.ClosedHandler(func(c *nats.Conn) { ended <- c.LastError() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := w.users.Revoke("shop"); err != nil {
		t.Fatal(err)
	}
	w.gate.Look()
	<-ended
	if _, err := nats.Connect(w.url, by(seed), nats.Timeout(time.Minute)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a user that was revoked: %v", err)
	}
	// The name may be given again, to another key and another role.
	again := w.create("shop", natsaccess.Reader)
	js := natstest.JetStreamAt(t, w.url, by(again))
	if _, err := js.KeyValue(t.Context(), "HOLD_STATS_1"); err != nil {
		t.Error(err)
	}
}
