package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
)

// The snapshot bucket is a NATS key-value bucket: a stream KV_<bucket> whose
// subjects are $KV.<bucket>.<key>, and any KV client reads it.
const (
	bucketNamePrefix = "HOLD_STATS_"

	// The bucket's own keys contain a dot, and a holder's subject token never
	// does, so they cannot be taken for a holder.
	positionKeyPrefix = "_pos."
	ownKeyMark        = "."
)

// SnapshotConfig says which bucket, and how it is kept.
type SnapshotConfig struct {
	Generation string // of letters, digits, '_' and '-'
	Replicas   int    // 0: one
	// Async lets the broker acknowledge a put before it is on disk. It is for one
	// owner that publishes again what a crash lost (`serve`). Without it, puts are
	// as durable as the broker's sync_interval says, and the bucket takes atomic
	// batches.
	Async bool
	// Check reports whether a view may take a value of the bucket; nil: it takes every
	// value. See CheckSnapshot.
	Check func(key string, value []byte) bool
}

// BucketName is the name of a generation's bucket.
func BucketName(generation string) string { return bucketNamePrefix + generation }

// GenerationOfBucket returns the generation that a bucket of that name has snapshots of.
func GenerationOfBucket(name string) (generation string, ok bool) {
	return strings.CutPrefix(name, bucketNamePrefix)
}

func subjectPrefix(generation string) string { return "$KV." + BucketName(generation) + "." }

func positionKey(partition int) string { return positionKeyPrefix + strconv.Itoa(partition) }

// PartitionOfKey returns the partition of a key that holds a position, and false for any
// other key.
func PartitionOfKey(key string) (partition int, ok bool) { return positionOf(key) }

// positionOf reads a key as positionKey wrote it.
func positionOf(key string) (partition int, ok bool) {
	number, ok := strings.CutPrefix(key, positionKeyPrefix)
	if !ok {
		return 0, false
	}
	partition, err := strconv.Atoi(number)
	return partition, err == nil && partition >= 0 && strconv.Itoa(partition) == number
}

func validGeneration(generation string) bool {
	if generation == "" {
		return false
	}
	for _, c := range []byte(generation) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && !('0' <= c && c <= '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// streamConfig is what jetstream.CreateKeyValue would ask for, and the two
// settings that KeyValueConfig does not offer: how writes are persisted, and
// atomic batches (the broker refuses them together). That is why the bucket's
// stream is made here and not by CreateKeyValue.
func (c *SnapshotConfig) streamConfig() jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name:              "KV_" + BucketName(c.Generation),
		Description:       "Snapshots of holders, kept by holdmetrics; can be deleted, and is made again from the store",
		Subjects:          []string{subjectPrefix(c.Generation) + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          max(c.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		// A direct read is answered by any replica, which may not have the latest: a
		// new owner would not see what the former one wrote.
		AllowDirect:        c.Async,
		AllowAtomicPublish: !c.Async,
	}
	if c.Async {
		s.PersistMode = jetstream.AsyncPersistMode
	}
	return s
}

// openBucket finds the bucket's stream or makes it.
func openBucket(ctx context.Context, js jetstream.JetStream, c SnapshotConfig) (jetstream.Stream, error) {
	if !validGeneration(c.Generation) {
		return nil, fmt.Errorf("projection: generation %q is not made of letters, digits, '_' and '-'", c.Generation)
	}
	want := c.streamConfig()
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Somebody else made it in between, maybe with other settings.
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("projection: open snapshot bucket %s: %w", BucketName(c.Generation), err)
	}
	have := stream.CachedInfo().Config
	switch {
	case have.MaxMsgsPerSubject != 1 || len(have.Subjects) != 1 || have.Subjects[0] != want.Subjects[0]:
		return nil, fmt.Errorf("%w: stream %s exists and is no snapshot bucket; delete it, or use another generation", ErrForeign, want.Name)
	case have.PersistMode != want.PersistMode:
		return nil, fmt.Errorf("%w: bucket %s is in persist mode %v, wanted is %v (async needs a broker of version 2.12); delete the bucket, it is made again from the store",
			ErrForeign, BucketName(c.Generation), have.PersistMode, want.PersistMode)
	case !c.Async && (!have.AllowAtomicPublish || have.AllowDirect):
		return nil, fmt.Errorf("%w: bucket %s does not take atomic batches, or answers direct reads (wanted are allow_atomic without allow_direct, of a broker of version 2.12 or later); delete the bucket, it is made again from the store",
			ErrForeign, BucketName(c.Generation))
	}
	return stream, nil
}

// DropSnapshots removes the bucket of a generation; one that is gone is no error.
// Nobody may write to it any more.
func DropSnapshots(ctx context.Context, js jetstream.JetStream, generation string) error {
	err := js.DeleteStream(ctx, "KV_"+BucketName(generation))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("projection: remove snapshot bucket %s: %w", BucketName(generation), err)
	}
	return nil
}

// PublishedPositions reads, for the first partitions of a log, the position that a
// generation's bucket has all of; 0 where nothing was published. The error wraps
// [ErrNotFound] where there is no such bucket.
func PublishedPositions(ctx context.Context, js jetstream.JetStream, generation string, partitions int) ([]Reached, error) {
	stream, err := js.Stream(ctx, "KV_"+BucketName(generation))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: bucket %s", ErrNotFound, BucketName(generation))
	}
	if err != nil {
		return nil, fmt.Errorf("projection: open snapshot bucket %s: %w", BucketName(generation), err)
	}
	s := Snapshots{config: SnapshotConfig{Generation: generation}, stream: stream, prefix: subjectPrefix(generation)}
	out := make([]Reached, partitions)
	for p := range out {
		if out[p], _, err = s.reached(ctx, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ReadFromLeader has a key-value bucket be read from its stream's leader, and gives the
// bucket to do so. A direct read, which every such bucket begins with, is answered by
// any replica, also by one that is behind the others.
//
// The bucket that it gives asks the leader: it has seen the settings itself. One that
// was opened before another process changed them would ask for direct reads for ever,
// which nobody answers any more.
func ReadFromLeader(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) (jetstream.KeyValue, error) {
	const tries = 10
	pauses := backoff.Backoff{First: 10 * time.Millisecond, Most: time.Second}
	for range tries {
		status, err := kv.Status(ctx) // the bucket goes by what this reads
		if err != nil {
			return nil, err
		}
		c := status.(*jetstream.KeyValueBucketStatus).StreamInfo().Config
		if !c.AllowDirect {
			return kv, nil
		}
		c.AllowDirect = false
		if _, err := js.UpdateStream(ctx, c); err != nil {
			return nil, err
		}
		if err := pauses.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("projection: bucket %s allows direct reads again and again (hint: nats stream edit %s --no-allow-direct)", kv.Bucket(), "KV_"+kv.Bucket())
}

// CreateBucket makes a key-value bucket that is read from its stream's leader, or opens the
// one that another process has made. It does what jetstream.CreateKeyValue would do, which
// allows direct reads: to take them back, every process would need permission to change the
// stream. The configuration has a name, a description, replicas, the bytes
// of a value and the time that markers stay; the storage is files.
func CreateBucket(ctx context.Context, js jetstream.JetStream, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name:                   "KV_" + c.Bucket,
		Description:            c.Description,
		Subjects:               []string{"$KV." + c.Bucket + ".>"},
		Storage:                jetstream.FileStorage,
		Replicas:               max(c.Replicas, 1),
		MaxMsgsPerSubject:      1,
		MaxMsgs:                -1,
		MaxBytes:               -1,
		MaxMsgSize:             cmp.Or(c.MaxValueSize, -1),
		MaxConsumers:           -1,
		Duplicates:             2 * time.Minute,
		Discard:                jetstream.DiscardNew,
		AllowRollup:            true,
		DenyDelete:             true,
		AllowMsgTTL:            c.LimitMarkerTTL > 0,
		SubjectDeleteMarkerTTL: c.LimitMarkerTTL,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil, err
	}
	return js.KeyValue(ctx, c.Bucket)
}
