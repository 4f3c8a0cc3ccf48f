package projection

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WatchOn is Watch with a connection of the test's, and its patience with a server
// that is behind.
func (s *Snapshots) WatchOn(ctx context.Context, js jetstream.JetStream, patience time.Duration) (*View, error) {
	return s.watch(ctx, js, patience)
}
