package projection

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// A partition whose store is made again, from the log, beside a bucket that was
// kept owes the bucket every one of its holders, which it can pay only when the
// store is as far as the bucket. It may be stopped before that and after it, so
// the debt stands in the bucket, with which it also goes.
const owedKeyPrefix = "_owed."

func owedKey(partition int) string { return owedKeyPrefix + strconv.Itoa(partition) }

// Owed reports whether all holders of a partition are still to be published anew.
func (s *Snapshots) Owed(ctx context.Context, partition int) (bool, error) {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+owedKey(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("projection: read whether partition %d is to be published anew: %w", partition, err)
	}
	return string(msg.Data) == "true", nil
}

// SetOwed notes that all holders of a partition are to be published anew, or
// that they were. It returns when the broker has acknowledged it.
func (s *Snapshots) SetOwed(ctx context.Context, partition int, owed bool) error {
	entry := Entry{Key: owedKey(partition), Value: strconv.AppendBool(nil, owed)}
	put := s.putAll
	if s.config.Async {
		put = s.putEach // which bursts count
	}
	if err := put(ctx, []Entry{entry}); err != nil {
		return fmt.Errorf("projection: note whether partition %d is to be published anew: %w", partition, err)
	}
	return nil
}
