// Package signing reads the key by which a server signs checkpoints of its log, and opens
// what keeps them.
package signing

import (
	"context"
	"fmt"
	"os"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
	"holdmetrics/ingest/transparency"
)

// mostKeyBytes is more than any key has.
const mostKeyBytes = 4096

// ReadKey reads a secret key from a file. Its errors do not have the key in them.
func ReadKey(path string) (*proof.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostKeyBytes {
		return nil, fmt.Errorf("%s: %w", path, proof.ErrKey)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := proof.ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// Key returns the key of the settings, or nil if they name none. Its error is one of
// usage.
func Key(s *settings.Settings) (*proof.Key, error) {
	if s.SigningKey == "" {
		return nil, nil
	}
	key, err := ReadKey(s.SigningKey)
	if err != nil {
		return nil, usage.Errorf("%s: %w", settings.Describe(settings.KeySigningKey), err)
	}
	return key, nil
}

// Open opens the tree of a log.
func Open(ctx context.Context, s *settings.Settings, key *proof.Key, events *ingest.Log, replicas int, log *zap.Logger) (*transparency.Keeper, error) {
	return transparency.Open(ctx, transparency.Config{Log: events, Key: key, Replicas: replicas, Interval: s.CheckpointInterval, Logger: log.Named("checkpoints")})
}
