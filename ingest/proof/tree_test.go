package proof_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/ingest/proof"
)

// model is RFC 6962, section 2.1, word by word.
type model [][]byte

func (m model) root() proof.Hash {
	switch len(m) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, m[0]...))
	}
	k := 1
	for 2*k < len(m) {
		k *= 2
	}
	left, right := m[:k].root(), m[k:].root()
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// path is PATH(m, D[n]) of section 2.1.1.
func (m model) path(at int) []proof.Hash {
	if len(m) == 1 {
		return nil
	}
	k := 1
	for 2*k < len(m) {
		k *= 2
	}
	if at < k {
		return append(m[:k].path(at), m[k:].root())
	}
	return append(m[k:].path(at-k), m[:k].root())
}

// shelf keeps tiles.
type shelf map[proof.TileID][]byte

func (s shelf) keep(t proof.Tile) { s[t.ID] = t.Hashes }

func (s shelf) tile(_ context.Context, id proof.TileID) ([]byte, error) {
	if b, ok := s[id]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("no tile %s", id)
}

func leaf(n int) proof.Leaf {
	return proof.Leaf{Position: uint64(n + 1), Time: int64(n) * 1e9, Partition: n % 16, JSON: n%7 == 0, Sum: sha256.Sum256([]byte{byte(n), byte(n >> 8)})}
}

func TestTreeIsThatOfTheRFC(t *testing.T) {
	t.Parallel()
	// The seven leaves and roots are the test vectors of certificate-transparency-go.
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var tree proof.Tree
	var m model
	for i, text := range leaves {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, data)
		tree.Add(sha256.Sum256(append([]byte{0}, data...)), nil)
		if got := tree.Root(); hex.EncodeToString(got[:]) != roots[i] || m.root() != got {
			t.Errorf("root of %d leaves: %x, want %s", i+1, got, roots[i])
		}
	}
}

func TestProofsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(250, 270), rapid.IntRange(500, 1100)).Draw(t, "leaves")
		var tree proof.Tree
		tiles := shelf{}
		var m model
		roots := map[uint64]proof.Hash{0: tree.Root()}
		for i := range n {
			l := leaf(i)
			m = append(m, l.Append(nil))
			tree.Add(l.Hash(), tiles.keep)
			if i%97 == 0 { // as after a restart
				again, err := proof.ParseTree(tree.Append(nil))
				if err != nil {
					t.Fatal(err)
				}
				tree = *again
			}
			roots[uint64(i+1)] = tree.Root()
		}
		size := rapid.IntRange(1, n).Draw(t, "size")
		at := rapid.IntRange(0, size-1).Draw(t, "at")
		path, err := tree.Inclusion(t.Context(), uint64(at+1), uint64(size), tiles.tile)
		if err != nil {
			t.Fatal(err)
		}
		root := m[:size].root()
		if got, err := tree.RootAt(t.Context(), uint64(size), tiles.tile); err != nil || got != root || roots[uint64(size)] != root {
			t.Fatalf("root at %d: %x, %v; want %x", size, got, err, root)
		}
		want := m[:size].path(at)
		if fmt.Sprint(path) != fmt.Sprint(want) {
			t.Fatalf("path of %d in %d: %x, want %x", at, size, path, want)
		}
		l := leaf(at)
		if h, err := tree.LeafHash(t.Context(), uint64(at+1), tiles.tile); err != nil || h != l.Hash() {
			t.Fatalf("leaf hash %x, %v", h, err)
		}
		if err := proof.CheckInclusion(l.Hash(), uint64(at+1), uint64(size), root, path); err != nil {
			t.Fatal(err)
		}
		other := leaf(at + 1)
		if err := proof.CheckInclusion(other.Hash(), uint64(at+1), uint64(size), root, path); !errors.Is(err, proof.ErrNotProved) {
			t.Fatalf("another leaf is proved: %v", err)
		}
		from := rapid.IntRange(0, size).Draw(t, "from")
		grown, err := tree.Consistency(t.Context(), uint64(from), uint64(size), tiles.tile)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.CheckConsistency(uint64(from), roots[uint64(from)], uint64(size), root, grown); err != nil {
			t.Fatal(err)
		}
		if from > 0 && from < size {
			wrong := roots[uint64(from)]
			wrong[3] ^= 1
			if err := proof.CheckConsistency(uint64(from), wrong, uint64(size), root, grown); !errors.Is(err, proof.ErrNotProved) {
				t.Fatalf("another beginning is proved: %v", err)
			}
		}
	})
}

func TestTreeOfManyLeaves(t *testing.T) {
	t.Parallel()
	const n = 1<<16 + 300 // three levels of tiles
	var tree proof.Tree
	tiles := shelf{}
	for i := range n {
		l := leaf(i)
		tree.Add(l.Hash(), tiles.keep)
	}
	if len(tiles) != 257+1 {
		t.Errorf("%d tiles", len(tiles))
	}
	root := tree.Root()
	for _, at := range []int{0, 255, 256, 65535, 65536, n - 1} {
		path, err := tree.Inclusion(t.Context(), uint64(at+1), n, tiles.tile)
		if err != nil {
			t.Fatal(err)
		}
		l := leaf(at)
		if err := proof.CheckInclusion(l.Hash(), uint64(at+1), n, root, path); err != nil {
			t.Errorf("position %d: %v", at+1, err)
		}
	}
	c := tree.Clone()
	l := leaf(n)
	c.Add(l.Hash(), tiles.keep)
	if tree.Root() != root || tree.Size() != n {
		t.Error("a clone changes its original")
	}
}

func FuzzParseTree(f *testing.F) {
	var tree proof.Tree
	for i := range 300 {
		l := leaf(i)
		tree.Add(l.Hash(), func(proof.Tile) {})
	}
	f.Add(tree.Append(nil))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := proof.ParseTree(b)
		if err != nil {
			if !errors.Is(err, proof.ErrTree) {
				t.Error(err)
			}
			return
		}
		if string(tree.Append(nil)) != string(b) {
			t.Errorf("%x becomes %x", b, tree.Append(nil))
		}
		tree.Root()
	})
}
