package transparency

import (
	"context"
	"errors"
	"fmt"

	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
)

// Proof proves that a position is in the tree of a checkpoint.
type Proof struct {
	Leaf       proof.Leaf
	Checkpoint proof.Checkpoint // of the tree that Path leads to
	Note       string           // the checkpoint, signed; empty: it is of an earlier size, whose note the caller has
	Path       []proof.Hash
	Message    *ingest.Message // nil: it is lost
}

// Consistency proves that the tree of one size begins with the tree of a smaller one.
type Consistency struct {
	From, To proof.Checkpoint
	Note     string // To, signed; empty: it is of an earlier size
	Path     []proof.Hash
}

// Checkpoint returns the latest checkpoint and its note. The error is [ErrNone] if there
// is none.
func (k *Keeper) Checkpoint() (proof.Checkpoint, string, error) {
	h := k.head.Load()
	if h.tree.Size() == 0 {
		return proof.Checkpoint{}, "", ErrNone
	}
	return h.checkpoint, h.note, nil
}

// PublicKey returns the key that verifies the checkpoints.
func (k *Keeper) PublicKey() string { return k.cfg.Key.Public() }

// at returns the checkpoint of a size, 0 being the latest.
func (k *Keeper) at(ctx context.Context, h *head, size uint64) (c proof.Checkpoint, signed string, err error) {
	switch {
	case h.tree.Size() == 0:
		return c, "", ErrNone
	case size == 0 || size == h.tree.Size():
		return h.checkpoint, h.note, nil
	case size > h.tree.Size():
		return c, "", &NotCoveredError{Position: size, Size: h.tree.Size()}
	}
	c = proof.Checkpoint{LogID: h.checkpoint.LogID, Size: size}
	c.Root, err = h.tree.RootAt(ctx, size, k.tile)
	return c, "", err
}

// Prove proves a position with the tree of a size; 0 is that of the latest checkpoint.
// The message is read from the log, and compared with what was hashed.
func (k *Keeper) Prove(ctx context.Context, position, size uint64) (*Proof, error) {
	h := k.head.Load()
	c, signed, err := k.at(ctx, h, size)
	if err != nil {
		return nil, err
	}
	if position < 1 || position > c.Size {
		return nil, &NotCoveredError{Position: position, Size: c.Size}
	}
	hash, err := h.tree.LeafHash(ctx, position, k.tile)
	if err != nil {
		return nil, damaged(err)
	}
	p := &Proof{Leaf: proof.Leaf{Position: position, Lost: true}, Checkpoint: c, Note: signed}
	if p.Leaf.Hash() != hash {
		if err := k.compareMessage(ctx, position, hash); err != nil {
			return nil, err
		}
		if p.Message, err = k.cfg.Log.Message(ctx, position); err != nil {
			return nil, err
		}
		p.Leaf = proof.LeafOf(p.Message)
	}
	if p.Path, err = h.tree.Inclusion(ctx, position, c.Size, k.tile); err != nil {
		return nil, damaged(err)
	}
	if err := proof.CheckInclusion(p.Leaf.Hash(), position, c.Size, c.Root, p.Path); err != nil {
		return nil, damaged(err)
	}
	return p, nil
}

// Compare proves that the tree of a size begins with all of a smaller one; a size of 0 is
// that of the latest checkpoint.
func (k *Keeper) Compare(ctx context.Context, from, to uint64) (*Consistency, error) {
	h := k.head.Load()
	last, signed, err := k.at(ctx, h, to)
	if err != nil {
		return nil, err
	}
	if from < 1 || from > last.Size {
		return nil, &NotCoveredError{Position: from, Size: last.Size}
	}
	first, _, err := k.at(ctx, h, from)
	if err != nil {
		return nil, err
	}
	c := &Consistency{From: first, To: last, Note: signed}
	if c.Path, err = h.tree.Consistency(ctx, from, last.Size, k.tile); err != nil {
		return nil, damaged(err)
	}
	if err := proof.CheckConsistency(from, first.Root, last.Size, last.Root, c.Path); err != nil {
		return nil, damaged(err)
	}
	return c, nil
}

// damaged marks the errors of hashes that do not fit together.
func damaged(err error) error {
	if errors.Is(err, proof.ErrTree) || errors.Is(err, proof.ErrNotProved) {
		return fmt.Errorf("%w: %w: put back the bucket from a backup", ErrDamaged, err)
	}
	return err
}
