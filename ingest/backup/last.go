package backup

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lastKey is the key of the time of the last backup.
const lastKey = "backup.last"

// SetLast records in a bucket that a backup of the running system was complete at a time,
// so that its processes can tell how old the last one is.
func SetLast(ctx context.Context, js jetstream.JetStream, bucket string, at time.Time) error {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	_, err = kv.PutString(ctx, lastKey, at.UTC().Format(time.RFC3339))
	return err
}

// Last returns when the last backup was complete, or the zero time if none is known.
func Last(ctx context.Context, js jetstream.JetStream, bucket string) (time.Time, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	entry, err := kv.Get(ctx, lastKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, string(entry.Value()))
}
