package query

import (
	"context"
	"errors"

	"holdmetrics/ingest/proof"
	"holdmetrics/ingest/transparency"
)

// ErrNoProofs: the server keeps no Merkle tree of the log.
var ErrNoProofs = errors.New("this server signs no checkpoints: start it with --signing-key")

// Proofs proves what the log has. A [*transparency.Keeper] does.
type Proofs interface {
	PublicKey() string
	Checkpoint() (proof.Checkpoint, string, error)
	Prove(ctx context.Context, position, size uint64) (*transparency.Proof, error)
	Compare(ctx context.Context, from, to uint64) (*transparency.Consistency, error)
}

// noProofs is a server without a signing key.
type noProofs struct{}

func (noProofs) PublicKey() string { return "" }

func (noProofs) Checkpoint() (proof.Checkpoint, string, error) {
	return proof.Checkpoint{}, "", ErrNoProofs
}

func (noProofs) Prove(context.Context, uint64, uint64) (*transparency.Proof, error) {
	return nil, ErrNoProofs
}

func (noProofs) Compare(context.Context, uint64, uint64) (*transparency.Consistency, error) {
	return nil, ErrNoProofs
}

// Proofs proves what the log has. Without a signing key all its answers are [ErrNoProofs].
func (s *Service) Proofs() Proofs {
	if s.cfg.Proofs == nil {
		return noProofs{}
	}
	return s.cfg.Proofs
}
