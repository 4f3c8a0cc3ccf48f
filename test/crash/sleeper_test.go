package crash

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc"

	"holdmetrics/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// kept is all that a cluster keeps beside its log.
type kept struct {
	documents map[string]map[string]bson.Raw // by collection and _id
	snapshots map[string]*jetstream.RawStreamMsg
}

// A worker that sleeps longer than its leases, in the middle of its work and with
// figures that it has not stored, wakes up when another has its partitions, and
// changes nothing: all documents and all messages of the bucket are as they were,
// but for the fences and epochs of the next owners of the partitions.
func TestSleeper(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster and its elections take their time")
	}
	rounds := 1
	if *production {
		rounds = 6
	}
	// What it applies is stored when somebody asks for it, or never.
	p := startCluster(t, hold.Merge, "--lease", leaseTime.String(), "--flush-interval", "10m")
	js := p.connect(t)
	o := p.owners(t, js)
	t.Logf("seed %d", *seed)
	r := rand.New(rand.NewPCG(*seed, 1<<34))
	watch := startWatcher(t, p.addresses[1], true)
	conn := dial(t, p.addresses[0])
	var loads []*load
	for round := range rounds {
		sleeper, other := p.workers[round%2], "w"+strconv.Itoa(2-round%2)
		o.shared(map[string]int{"w1": partitions / 2, "w2": partitions / 2})
		l := startLoad(t, 2, *seed+uint64(round), p.addresses...)
		loads = append(loads, l)
		reads := startReads(t, p.addresses[1])
		l.more(t, batchSize*(2+r.Int64N(10)))
		said := len(sleeper.log.String())
		sleeper.hold()
		o.shared(map[string]int{other: partitions})
		l.more(t, batchSize)
		l.finish()
		reads()
		stored(t, p.addresses[0])
		settle(t, conn)
		before := keep(t, p.documents, js)

		sleeper.release()
		// It finds out, and takes part again: the other gives it half of the partitions.
		o.shared(map[string]int{"w1": partitions / 2, "w2": partitions / 2})
		settle(t, conn)
		if !strings.Contains(sleeper.log.String()[said:], "the partition is another worker's now") {
			t.Errorf("%s woke up and did not notice that it owns nothing", sleeper.name)
		}
		after := keep(t, p.documents, js)
		t.Logf("%s slept; %d documents and %d messages of the bucket are compared", sleeper.name, before.size(), len(before.snapshots))
		before.same(t, after)
	}
	judge(t, hold.Merge, loads, p.addresses...)
	watch.finish()
}

// startReads reads all scores over and over, which has everything stored that is
// applied, so that the moments in which a worker falls asleep are also such.
func startReads(t *testing.T, address string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	conn := dial(t, address)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = readAll(ctx, conn)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// stored returns when the store has all that the log had.
func stored(t *testing.T, address string) {
	t.Helper()
	v := &verdict{t: t}
	conn := dial(t, address)
	v.read("reading the scores", func(ctx context.Context) error { return readAll(ctx, conn) })
}

// readAll reads all scores, for which a gateway waits until the store has everything.
func readAll(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(ctx, &holdpb.ScoresRequest{}, grpc.WaitForReady(true))
	return each(stream, err, func(*holdpb.Score) {})
}

// keep reads all documents and all messages.
func keep(t *testing.T, d *mongo.Database, js jetstream.JetStream) *kept {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	k := &kept{documents: map[string]map[string]bson.Raw{}, snapshots: map[string]*jetstream.RawStreamMsg{}}
	for _, name := range []string{"hold_events", "hold_pairs", "hold_stats", "checkpoints"} {
		cursor, err := d.Collection(name).Find(ctx, bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bson.Raw{}
		for cursor.Next(ctx) {
			all[cursor.Current.Lookup("_id").String()] = append(bson.Raw(nil), cursor.Current...)
		}
		if err := cursor.Err(); err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			t.Fatalf("collection %s is empty", name)
		}
		k.documents[name] = all
	}
	stream, err := js.Stream(ctx, "KV_"+projection.BucketName("1"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		if strings.Contains(subject, "._read.") {
			continue // of gateways, which read the bucket again when they like
		}
		if k.snapshots[subject], err = stream.GetLastMsgForSubject(ctx, subject); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func (k *kept) size() (n int) {
	for _, all := range k.documents {
		n += len(all)
	}
	return n
}

// same fails where anything is otherwise than before, but for what the next owner
// of a partition writes before it has read anything: its epoch and its fence.
func (k *kept) same(t *testing.T, after *kept) {
	t.Helper()
	for name, all := range k.documents {
		if len(after.documents[name]) != len(all) {
			t.Errorf("collection %s had %d documents, and has %d", name, len(all), len(after.documents[name]))
		}
		for id, was := range all {
			is := after.documents[name][id]
			if name == "checkpoints" {
				var older, newer bson.M
				if err := bson.Unmarshal(was, &older); err != nil {
					t.Fatal(err)
				}
				if err := bson.Unmarshal(is, &newer); err != nil {
					t.Fatal(err)
				}
				if a, b := older["epoch"].(int64), newer["epoch"].(int64); b < a {
					t.Errorf("the checkpoint of partition %s has epoch %d after %d", id, b, a)
				}
				delete(older, "epoch")
				delete(newer, "epoch")
				was, is = marshal(t, older), marshal(t, newer)
			}
			if string(was) != string(is) {
				t.Errorf("collection %s, document %s\n was %v\n is  %v", name, id, was, is)
			}
		}
	}
	if len(k.snapshots) != len(after.snapshots) {
		t.Errorf("the bucket had %d keys, and has %d", len(k.snapshots), len(after.snapshots))
	}
	for subject, was := range k.snapshots {
		is := after.snapshots[subject]
		_, key, _ := strings.Cut(strings.TrimPrefix(subject, "$KV."), ".")
		switch {
		case is == nil:
			t.Errorf("%s is gone", subject)
		case strings.HasPrefix(key, "_fence."):
			a, _ := strconv.ParseUint(string(was.Data), 10, 64)
			b, _ := strconv.ParseUint(string(is.Data), 10, 64)
			if b < a || b == a && is.Sequence != was.Sequence {
				t.Errorf("%s is %d of sequence %d after %d of %d", subject, b, is.Sequence, a, was.Sequence)
			}
		case strings.HasPrefix(key, "_"): // said again by the next owner
			if string(is.Data) != string(was.Data) {
				t.Errorf("%s was %q and is %q", subject, was.Data, is.Data)
			}
		case is.Sequence != was.Sequence:
			t.Errorf("the snapshot %s was written again: sequence %d after %d", subject, is.Sequence, was.Sequence)
		}
	}
}

func marshal(t *testing.T, m bson.M) bson.Raw {
	t.Helper()
	// In the order of the names, which a map does not keep.
	d := bson.D{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		d = append(d, bson.E{Key: name, Value: m[name]})
	}
	raw, err := bson.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
