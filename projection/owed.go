package projection

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// If a store is rebuilt from the log and its bucket was kept, every holder of the
// partition needs a backfill. The backfill can start only when the store has reached
// the position of the bucket. The partition may stop before or during it. So the need
// for a backfill is recorded in the bucket, and is deleted with it.
const owedKeyPrefix = "_owed."

func owedKey(partition int) string { return owedKeyPrefix + strconv.Itoa(partition) }

// Owed reports whether a partition still needs a backfill of all its holders.
func (s *Snapshots) Owed(ctx context.Context, partition int) (bool, error) {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+owedKey(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("projection: read whether partition %d needs a backfill: %w", partition, err)
	}
	return string(msg.Data) == "true", nil
}

// SetOwed records whether a partition needs a backfill of all its holders. It returns
// when the broker has acknowledged the record.
func (s *Snapshots) SetOwed(ctx context.Context, partition int, owed bool) error {
	entry := Entry{Key: owedKey(partition), Value: strconv.AppendBool(nil, owed)}
	put := s.putAll
	if s.config.Async {
		put = s.putEach // which bursts count
	}
	if err := put(ctx, []Entry{entry}); err != nil {
		return fmt.Errorf("projection: record whether partition %d needs a backfill: %w", partition, err)
	}
	return nil
}
