package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
)

// Tiles. A tile has the hashes of 256 neighbouring nodes of one level of the tree, of
// level 0, 8, 16 and so on. A full tile never changes. What is not full yet, at most
// 255 hashes a level, is the [Tree] itself. So a proof reads at most a tile for each
// eight levels, and a restart reads the tree and nothing of the log.
const (
	tileHeight = 8
	// TileWidth is how many hashes a full tile has.
	TileWidth = 1 << tileHeight
	// TileBytes is the length of a full tile.
	TileBytes = TileWidth * HashSize
)

// ErrTree is the error of bytes that are no tree, or of a tile of another length.
var ErrTree = errors.New("proof: damaged hashes of the tree")

// TileID names a tile: its level among tiles, and its place in that level.
type TileID struct {
	Level uint
	Index uint64
}

// String returns the id as a key.
func (t TileID) String() string { return fmt.Sprintf("%d.%d", t.Level, t.Index) }

// Tile is a tile that has become full.
type Tile struct {
	ID     TileID
	Hashes []byte // TileBytes of them
}

// Tree is the right edge of a Merkle tree: what is needed to append leaves and to compute
// the root. The zero value is the empty tree. It is not safe for concurrent use.
type Tree struct {
	size   uint64
	levels [][]Hash // hashes by level of tiles, of tiles that are not full
}

// Size returns how many leaves the tree has.
func (t *Tree) Size() uint64 { return t.size }

// Add appends the hash of a leaf. It calls full with each tile that has become full.
func (t *Tree) Add(leaf Hash, full func(Tile)) {
	t.size++
	for level, h := uint(0), leaf; ; level++ {
		if int(level) == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[level] = append(t.levels[level], h)
		if len(t.levels[level]) < TileWidth {
			return
		}
		tile := Tile{ID: TileID{level, t.size>>(tileHeight*(level+1)) - 1}, Hashes: make([]byte, 0, TileBytes)}
		for i := range t.levels[level] {
			tile.Hashes = append(tile.Hashes, t.levels[level][i][:]...)
		}
		full(tile)
		h = fold(t.levels[level])
		t.levels[level] = t.levels[level][:0:0]
	}
}

// Clone returns a copy that shares nothing with t.
func (t *Tree) Clone() *Tree {
	c := &Tree{size: t.size, levels: make([][]Hash, len(t.levels))}
	for i, level := range t.levels {
		c.levels[i] = append([]Hash(nil), level...)
	}
	return c
}

// fold returns the root of a perfect tree over hashes, whose number is a power of two.
func fold(hashes []Hash) Hash {
	row := append([]Hash(nil), hashes...)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = Children(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// Root returns the root of the tree, which is that of RFC 6962.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	var root Hash
	nodes := compact.RangeNodes(0, t.size, nil)
	for i := len(nodes) - 1; i >= 0; i-- {
		h, _ := t.edge(nodes[i]) // the nodes of the right edge are all there
		if i == len(nodes)-1 {
			root = h
		} else {
			root = Children(h, root)
		}
	}
	return root
}

// edge returns the hash of a node if its tile is not full.
func (t *Tree) edge(id compact.NodeID) (Hash, bool) {
	tile, first, count := placeOf(id)
	if tile.Level >= uint(len(t.levels)) || tile.Index != t.size>>(tileHeight*(tile.Level+1)) {
		return Hash{}, false
	}
	hashes := t.levels[tile.Level]
	if first+count > len(hashes) {
		return Hash{}, false
	}
	return fold(hashes[first : first+count]), true
}

// placeOf returns the tile that has the hashes below a node, and where.
func placeOf(id compact.NodeID) (tile TileID, first, count int) {
	level, height := id.Level/tileHeight, id.Level%tileHeight
	at := id.Index << height
	return TileID{level, at >> tileHeight}, int(at & (TileWidth - 1)), 1 << height
}

// Append appends the binary form of the tree: its size, and the hashes of the tiles that
// are not full, by level.
func (t *Tree) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, t.size)
	for _, level := range t.levels {
		for i := range level {
			dst = append(dst, level[i][:]...)
		}
	}
	return dst
}

// ParseTree reads what Append wrote. Its errors match [ErrTree].
func ParseTree(b []byte) (*Tree, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTree, len(b))
	}
	t := &Tree{size: binary.BigEndian.Uint64(b)}
	b = b[8:]
	for rest := t.size; rest > 0; rest >>= tileHeight {
		n := int(rest & (TileWidth - 1))
		if len(b) < n*HashSize {
			return nil, fmt.Errorf("%w: %d hashes are missing", ErrTree, n-len(b)/HashSize)
		}
		level := make([]Hash, n)
		for i := range level {
			copy(level[i][:], b[i*HashSize:])
		}
		t.levels, b = append(t.levels, level), b[n*HashSize:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrTree, len(b))
	}
	return t, nil
}
