package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// valuesAtOnce is how many keys one call of Values reads at once.
const valuesAtOnce = 32

// Values reads the snapshots of some keys, in their order, nil where the bucket
// has none. The stream's leader answers.
func (s *Snapshots) Values(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(valuesAtOnce)
	for i, key := range keys {
		group.Go(func() error {
			msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+key)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
				return nil
			case err != nil:
				return fmt.Errorf("projection: read snapshot %s: %w", key, err)
			}
			values[i] = msg.Data
			return nil
		})
	}
	return values, group.Wait()
}

// Values is [Snapshots.Values].
func (f *Fence) Values(ctx context.Context, keys []string) ([][]byte, error) {
	return f.s.Values(ctx, keys)
}
