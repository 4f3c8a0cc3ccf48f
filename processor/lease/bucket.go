package lease

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/projection"
)

const (
	bucketPrefix    = "HOLD_LEASES_"
	workerPrefix    = "worker."
	partitionPrefix = "partition."

	// markerTTL is how long the mark of a key that ran out stays for watchers that
	// were away; who comes later starts from what there is.
	markerTTL = time.Minute

	// Shortest is the shortest lease: the broker counts in whole seconds.
	Shortest = time.Second
	// DefaultLease is how long a lease runs unless it is renewed.
	DefaultLease = 5 * time.Second
)

// Errors that callers decide on.
var (
	// ErrTaken: somebody else owns the partition.
	ErrTaken = errors.New("lease: the partition is owned by another worker")
	// ErrLost: the lease is over, and somebody else may own the partition.
	ErrLost = errors.New("lease: the lease is lost")
	// ErrConfig: what was asked for cannot be.
	ErrConfig = errors.New("lease: bad configuration")
)

// Bucket is the name of a generation's bucket.
func Bucket(generation string) string { return bucketPrefix + generation }

// Drop removes the bucket of a generation; one that is gone is no error. A member
// that lives would make it again.
func Drop(ctx context.Context, js jetstream.JetStream, generation string) error {
	err := js.DeleteKeyValue(ctx, Bucket(generation))
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("lease: remove bucket %s: %w", Bucket(generation), err)
	}
	return nil
}

// openBucket finds the bucket or makes it. A bucket that exists keeps its
// replicas, which are the operator's to change.
func openBucket(ctx context.Context, js jetstream.JetStream, generation string, replicas int) (jetstream.KeyValue, error) {
	name := Bucket(generation)
	kv, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = projection.CreateBucket(ctx, js, jetstream.KeyValueConfig{
			Bucket:         name,
			Description:    "Who owns which partition, kept by holdmetrics workers; can be deleted while none runs",
			Replicas:       max(replicas, 1),
			LimitMarkerTTL: markerTTL,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("lease: open bucket %s: %w", name, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("lease: open bucket %s: %w", name, err)
	}
	// A replica that is behind would say that a lease is this member's which another one
	// has by now, or the reverse.
	if kv, err = projection.ReadFromLeader(ctx, js, kv); err != nil {
		return nil, fmt.Errorf("lease: open bucket %s: %w", name, err)
	}
	if status.LimitMarkerTTL() == 0 {
		return nil, fmt.Errorf("%w: bucket %s exists and its keys have no time to live (hint: delete it while no worker runs; it is created again, by a broker of version 2.11 or later)", ErrConfig, name)
	}
	return kv, nil
}

func workerKey(id string) string { return workerPrefix + id }

func partitionKey(partition int) string { return partitionPrefix + strconv.Itoa(partition) }

// partitionOf reads a key as partitionKey wrote it.
func partitionOf(key string) (int, bool) {
	number, ok := strings.CutPrefix(key, partitionPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == number
}

// put writes a key that lives for ttl, where its revision is still what is
// expected; nil: whatever it is. It is jetstream.KeyValue.Update with a time to
// live, which that one does not offer.
func put(ctx context.Context, js jetstream.JetStream, bucket, key string, value []byte, expected *uint64, ttl time.Duration) (uint64, error) {
	// That nobody listens shows soon; who renews tries again anyway.
	opts := []jetstream.PublishOpt{jetstream.WithMsgTTL(ttl), jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(20 * time.Millisecond)}
	if expected != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(*expected))
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: "$KV." + bucket + "." + key, Header: nats.Header{}, Data: value}, opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// refused reports whether a write found another revision than it expected.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
