package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// ErrNotProved is the error of a proof that does not lead to the root.
var ErrNotProved = errors.New("proof: the proof does not lead to the root of the checkpoint")

// Tiles reads a full tile.
type Tiles func(ctx context.Context, id TileID) ([]byte, error)

// Inclusion returns the proof that the leaf of a position is in the tree that the log had
// at a size. The tree t must be at least that large.
func (t *Tree) Inclusion(ctx context.Context, position, size uint64, tiles Tiles) ([]Hash, error) {
	if position < 1 || position > size || size > t.size {
		return nil, fmt.Errorf("proof: position %d of a tree of %d of %d leaves", position, size, t.size)
	}
	nodes, err := proof.Inclusion(position-1, size)
	if err != nil {
		return nil, err
	}
	return t.prove(ctx, nodes, tiles)
}

// Consistency returns the proof that the tree of one size begins with all of a smaller one.
func (t *Tree) Consistency(ctx context.Context, from, to uint64, tiles Tiles) ([]Hash, error) {
	if from > to || to > t.size {
		return nil, fmt.Errorf("proof: sizes %d and %d of a tree of %d leaves", from, to, t.size)
	}
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, err
	}
	return t.prove(ctx, nodes, tiles)
}

// LeafHash returns the hash of the leaf of a position.
func (t *Tree) LeafHash(ctx context.Context, position uint64, tiles Tiles) (Hash, error) {
	if position < 1 || position > t.size {
		return Hash{}, fmt.Errorf("proof: position %d of a tree of %d leaves", position, t.size)
	}
	return t.node(ctx, compact.NewNodeID(0, position-1), tiles)
}

// RootAt returns the root that the tree had at a smaller size.
func (t *Tree) RootAt(ctx context.Context, size uint64, tiles Tiles) (Hash, error) {
	if size == 0 || size > t.size {
		return Hash{}, fmt.Errorf("proof: size %d of a tree of %d leaves", size, t.size)
	}
	var root Hash
	nodes := compact.RangeNodes(0, size, nil)
	for i := len(nodes) - 1; i >= 0; i-- {
		h, err := t.node(ctx, nodes[i], tiles)
		if err != nil {
			return Hash{}, err
		}
		if i == len(nodes)-1 {
			root = h
		} else {
			root = Children(h, root)
		}
	}
	return root, nil
}

func (t *Tree) prove(ctx context.Context, nodes proof.Nodes, tiles Tiles) ([]Hash, error) {
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		h, err := t.node(ctx, id, tiles)
		if err != nil {
			return nil, err
		}
		hashes[i] = h[:]
	}
	hashes, err := nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, err
	}
	out := make([]Hash, len(hashes))
	for i := range hashes {
		copy(out[i][:], hashes[i])
	}
	return out, nil
}

func (t *Tree) node(ctx context.Context, id compact.NodeID, tiles Tiles) (Hash, error) {
	if h, ok := t.edge(id); ok {
		return h, nil
	}
	tile, first, count := placeOf(id)
	data, err := tiles(ctx, tile)
	if err != nil {
		return Hash{}, err
	}
	if len(data) != TileBytes {
		return Hash{}, fmt.Errorf("%w: tile %s has %d bytes", ErrTree, tile, len(data))
	}
	hashes := make([]Hash, count)
	for i := range hashes {
		copy(hashes[i][:], data[(first+i)*HashSize:])
	}
	return fold(hashes), nil
}

// CheckInclusion returns an error that matches [ErrNotProved] unless the path proves that
// a leaf is at a position of the tree that has this size and root.
func CheckInclusion(leaf Hash, position, size uint64, root Hash, path []Hash) error {
	if position < 1 {
		return fmt.Errorf("%w: position 0", ErrNotProved)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, position-1, size, leaf[:], slices(path), root[:]); err != nil {
		return fmt.Errorf("%w: position %d of %d: %w", ErrNotProved, position, size, err)
	}
	return nil
}

// CheckConsistency returns an error that matches [ErrNotProved] unless the path proves
// that the later of two trees begins with all of the earlier one.
func CheckConsistency(from uint64, fromRoot Hash, to uint64, toRoot Hash, path []Hash) error {
	if from == 0 {
		return nil // the empty tree is the beginning of every tree
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from, to, slices(path), fromRoot[:], toRoot[:]); err != nil {
		return fmt.Errorf("%w: sizes %d and %d: %w", ErrNotProved, from, to, err)
	}
	return nil
}

func slices(path []Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}
