package ingest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

func TestOpenLogMakesTheTopology(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if _, err := uuid.Parse(l.ID()); err != nil || l.Partitions() != DefaultPartitions {
		t.Errorf("id %q (%v), %d partitions", l.ID(), err, l.Partitions())
	}
	c := l.events.CachedInfo().Config
	if c.Storage != jetstream.FileStorage || !c.DenyDelete || !c.DenyPurge || c.Compression != jetstream.S2Compression || c.Replicas != 1 ||
		c.MaxMsgs != -1 || c.MaxBytes != -1 || c.MaxAge != 0 {
		t.Errorf("event stream: %+v", c)
	}
	if _, err := l.js.Publish(t.Context(), LogSubject(0), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := l.events.Purge(t.Context()); err == nil {
		t.Error("the log could be purged")
	}
	if err := l.events.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a message of the log could be deleted")
	}
}

// A stream that a server cuts back when it starts must not be compressed; see compression.
func TestReplicatedStreamsAreNotCompressed(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]jetstream.StoreCompression{1: jetstream.S2Compression, 3: jetstream.NoCompression, 5: jetstream.NoCompression} {
		c := LogConfig{Partitions: 1, Replicas: replicas}
		if got := eventsConfig(c, "").Compression; got != want {
			t.Errorf("events, %d replicas: %v, want %v", replicas, got, want)
		}
		if got := deadLetterConfig(c).Compression; got != want {
			t.Errorf("dead letters, %d replicas: %v, want %v", replicas, got, want)
		}
	}
}

// answered is a stream whose information is what a test says.
type answered struct {
	jetstream.Stream
	info jetstream.StreamInfo
}

func (a *answered) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return &a.info, nil
}

// A server that hears of no leader tells what its own replica has, which says
// nothing about the log.
func TestAnswersWithoutALeaderCountForNothing(t *testing.T) {
	t.Parallel()
	info := jetstream.StreamInfo{State: jetstream.StreamState{LastSeq: 7}}
	info.Config.Metadata = map[string]string{metaLogID: "id"}
	for _, c := range []struct {
		name     string
		replicas int
		cluster  *jetstream.ClusterInfo
		want     error
	}{
		{"one replica, no cluster", 1, nil, nil},
		{"three, led", 3, &jetstream.ClusterInfo{Leader: "n1"}, nil},
		{"three, without a leader", 3, &jetstream.ClusterInfo{}, ErrNoLeader},
		{"three, of nobody", 3, nil, ErrNoLeader},
	} {
		info.Config.Replicas, info.Cluster = c.replicas, c.cluster
		l := &Log{events: &answered{info: info}}
		id, last, err := l.Look(t.Context())
		if !errors.Is(err, c.want) || err == nil && (id != "id" || last != 7) {
			t.Errorf("%s: look: %q, %d, %v", c.name, id, last, err)
		}
		if last, err := l.LastPosition(t.Context()); !errors.Is(err, c.want) || err == nil && last != 7 {
			t.Errorf("%s: last position: %d, %v", c.name, last, err)
		}
	}
}

func TestOpenLogKeepsWhatThereIs(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	first, err := OpenLog(t.Context(), js, LogConfig{Partitions: 5})
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenLog(t.Context(), js, LogConfig{Partitions: 16, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if second.ID() != first.ID() || second.Partitions() != 5 {
		t.Errorf("id %s and %d partitions, want %s and 5", second.ID(), second.Partitions(), first.ID())
	}
}

// What nobody would read is not acknowledged.
func TestNoPartitionNoAcknowledgement(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	for _, partitions := range []int{12, 12, 1} { // the second opens what the first made
		l, err := OpenLog(t.Context(), js, LogConfig{Partitions: partitions})
		if err != nil || l.Partitions() != 12 {
			t.Fatalf("%d partitions, %v", l.Partitions(), err)
		}
	}
	for _, subject := range []string{"hold.log.12", "hold.log.99", "hold.log.07", "hold.log.abc", "hold.log.-1", "hold.log", "hold.log.1.2"} {
		if ack, err := js.Publish(t.Context(), subject, []byte("x"), jetstream.WithRetryAttempts(0)); !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("%s: %+v, %v", subject, ack, err)
		}
	}
	for p := range 12 {
		if _, err := js.Publish(t.Context(), LogSubject(p), []byte("x")); err != nil {
			t.Errorf("partition %d: %v", p, err)
		}
	}
}

func TestOpenLogBySeveralAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	var ids sync.Map
	var all sync.WaitGroup
	for range 8 {
		js := connect(t, s)
		all.Go(func() {
			l, err := OpenLog(t.Context(), js, LogConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			ids.Store(l.ID(), true)
		})
	}
	all.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d ids, want one", n)
	}
}

func TestOpenLogRefuses(t *testing.T) {
	t.Parallel()
	for setting, change := range map[string]func(*jetstream.StreamConfig){
		"metadata " + metaLogID:      func(c *jetstream.StreamConfig) { delete(c.Metadata, metaLogID) },
		"metadata " + metaPartitions: func(c *jetstream.StreamConfig) { c.Metadata[metaPartitions] = "many" },
		"subject_transform":          func(c *jetstream.StreamConfig) { c.SubjectTransform = nil },
		"subject_transform ":         func(c *jetstream.StreamConfig) { c.SubjectTransform = transform(3) },
		"subjects":                   func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[1:] },
		"subjects ":                  func(c *jetstream.StreamConfig) { c.Subjects = []string{"hold.events.*", "hold.log.*"} },
		"storage": func(c *jetstream.StreamConfig) {
			c.Storage = jetstream.MemoryStorage
			c.Compression = jetstream.NoCompression
		},
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"persist_mode":         func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"max_msgs":             func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"max_bytes":            func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = 1 << 40 },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"max_msg_size":         func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
		"deny_delete":          func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":           func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"no_ack":               func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			js := connect(t, natstest.Start(t))
			cfg := eventsConfig(LogConfig{Partitions: 4, Replicas: 1}, uuid.NewString())
			change(&cfg)
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			_, err := OpenLog(t.Context(), js, LogConfig{})
			var bad *LogSettingsError
			if !errors.As(err, &bad) || !errors.Is(err, ErrLogSettings) {
				t.Fatalf("error %v, want a LogSettingsError", err)
			}
			if bad.Setting != strings.TrimSpace(setting) || bad.Hint == "" {
				t.Errorf("error %v names %q", err, bad.Setting)
			}
		})
	}
}

func TestOpenLogRefusesForeignDeadLetters(t *testing.T) {
	t.Parallel()
	for setting, cfg := range map[string]jetstream.StreamConfig{
		"subjects":                         {Name: DeadLetterStream, Subjects: []string{"elsewhere"}},
		"max_msgs_per_subject and discard": {Name: DeadLetterStream, Subjects: []string{"hold.dlq.>"}},
	} {
		js := connect(t, natstest.Start(t))
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		_, err := OpenLog(t.Context(), js, LogConfig{})
		if bad := (*LogSettingsError)(nil); !errors.As(err, &bad) || bad.Setting != setting {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func TestOpenLogRefusesBadConfig(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, maxPartitions + 1} {
		if _, err := OpenLog(t.Context(), nil, LogConfig{Partitions: n}); !errors.Is(err, ErrLogConfig) {
			t.Errorf("%d partitions: %v", n, err)
		}
	}
}

func TestEndAndLastPosition(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ends := map[int]uint64{}
	for i, p := range []int{3, 3, 0, 15, 3, 0} {
		if _, err := l.js.Publish(t.Context(), LogSubject(p), []byte("x")); err != nil {
			t.Fatal(err)
		}
		ends[p] = uint64(i + 1)
	}
	for p := range l.Partitions() {
		if got, err := l.End(t.Context(), p); err != nil || got != ends[p] {
			t.Errorf("partition %d ends at %d, %v, want %d", p, got, err, ends[p])
		}
	}
	if got, err := l.LastPosition(t.Context()); err != nil || got != 6 {
		t.Errorf("the log ends at %d, %v, want 6", got, err)
	}
}

// TestRawSubject publishes as a client does that knows README only.
func TestRawSubject(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	nc := l.js.Conn()
	d := open("gold", "Jörg S.", 100)
	if err := nc.Publish("hold.events."+SubjectToken(d.Holder), AppendEvent(nil, &d)); err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishMsg(&nats.Msg{
		Subject: "hold.events.alice",
		Header:  nats.Header{"Content-Type": {"application/json"}},
		Data:    []byte(`{"token_id":"gold","holder_id":"alice","start":100}`),
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var ends []uint64
	for _, holder := range []string{"Jörg S.", "alice"} {
		// A plain publish has no acknowledgement to wait for; the acknowledgement of
		// one behind it will do.
		ack, err := l.js.Publish(t.Context(), RawSubject(holder), nil)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, ack.Sequence)
	}
	all := messages(t, l)
	if len(all) != 4 || ends[1] != 4 {
		t.Fatalf("%d messages, ends %v", len(all), ends)
	}
	var first, second hold.Draft
	if err := DecodeEvent(all[0].data, &first); err != nil || first != d || IsJSON(all[0].header) {
		t.Errorf("protobuf: %+v, %v", first, err)
	}
	if err := DecodeJSON(all[1].data, &second); err != nil || second != open("gold", "alice", 100) || !IsJSON(all[1].header) {
		t.Errorf("JSON: %+v, %v", second, err)
	}
	for i, holder := range []string{"Jörg S.", "alice"} {
		if want := LogSubject(Partition(holder, l.Partitions())); all[i].subject != want {
			t.Errorf("%s is under %s, want %s", holder, all[i].subject, want)
		}
	}
}
