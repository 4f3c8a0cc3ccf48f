package query

import (
	"context"
	"errors"

	"holdmetrics/gateway/auth"
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
	return guardedProofs{s.cfg.Proofs}
}

// guardedProofs proves what the log has to those alone who may see all of it: a message may
// have events of many tokens and holders. A checkpoint has a size and a hash, and is for
// every reader.
type guardedProofs struct{ Proofs }

func (g guardedProofs) Prove(ctx context.Context, position, size uint64) (*transparency.Proof, error) {
	if err := auth.CallerOf(ctx).MayReadAll("the log"); err != nil {
		return nil, err
	}
	return g.Proofs.Prove(ctx, position, size)
}

func (g guardedProofs) Compare(ctx context.Context, from, to uint64) (*transparency.Consistency, error) {
	if err := auth.CallerOf(ctx).MayReadAll("the log"); err != nil {
		return nil, err
	}
	return g.Proofs.Compare(ctx, from, to)
}
