package proof_test

import (
	"errors"
	"testing"

	"holdmetrics/ingest/proof"
)

func TestWitnessTakesOnlyWhatGoesOn(t *testing.T) {
	t.Parallel()
	secret, public := key(t, 1, "n")
	signer, err := proof.ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := proof.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	tiles := shelf{}
	grown := func(n, forkAt int) (*proof.Tree, string) {
		tree := &proof.Tree{}
		for i := range n {
			l := leaf(i)
			if i >= forkAt {
				l.Time++
			}
			tree.Add(l.Hash(), tiles.keep)
		}
		c := proof.Checkpoint{LogID: "a", Size: uint64(n), Root: tree.Root()}
		signed, err := c.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		return tree, signed
	}
	w := proof.Witness{Key: verifier}
	take := func(n, forkAt int) error {
		tree, signed := grown(n, forkAt)
		_, err := w.Take(signed, func(from, to uint64) ([]proof.Hash, error) {
			return tree.Consistency(t.Context(), from, to, tiles.tile)
		})
		return err
	}
	const never = 1 << 30
	for _, step := range []struct {
		size, forkAt int
		want         error
	}{
		{5, never, nil}, {5, never, nil}, {9, never, nil}, {4, never, proof.ErrRolledBack}, {9, 3, proof.ErrForked},
		{20, 8, proof.ErrForked}, {20, 9, nil}, {30, never, proof.ErrForked}, {30, 9, nil},
	} {
		before := w.Seen
		if err := take(step.size, step.forkAt); !errors.Is(err, step.want) {
			t.Errorf("size %d, forked at %d: %v, want %v", step.size, step.forkAt, err, step.want)
		}
		if step.want != nil && w.Seen != before {
			t.Error("a bad checkpoint was remembered")
		}
	}
	other := proof.Checkpoint{LogID: "b", Size: 40}
	signed, err := other.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Take(signed, nil); !errors.Is(err, proof.ErrOtherLog) {
		t.Errorf("another log: %v", err)
	}
	if _, err := w.Take("x", nil); !errors.Is(err, proof.ErrCheckpoint) {
		t.Errorf("no checkpoint: %v", err)
	}
}
