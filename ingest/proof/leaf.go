package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/rfc6962"

	"holdmetrics/ingest"
)

// HashSize is the length of all hashes in bytes.
const HashSize = sha256.Size

// Hash is a hash of the tree.
type Hash [HashSize]byte

// LeafSize is the length of a leaf. With the byte that RFC 6962 puts before a leaf, and
// the padding of SHA-256, it is one block.
const LeafSize = 54

// leafVersion is the first byte of a leaf.
const leafVersion = 1

const (
	leafJSON = 1 << iota
	leafLost
)

// ErrLeaf is the error of bytes that are no leaf.
var ErrLeaf = errors.New("proof: not a leaf")

// Leaf is what the tree states about one position of the log.
type Leaf struct {
	Position  uint64
	Time      int64 // the log's time of the message, in unix nanoseconds
	Partition int
	JSON      bool // the message is JSON, by the word of its producer
	// Lost reports that the message was accepted as lost by an operator before it was
	// hashed. Then the other fields but Position are zero.
	Lost bool
	Sum  Hash // SHA-256 of the bytes of the message
}

// LeafOf returns the leaf of a message.
func LeafOf(m *ingest.Message) Leaf {
	return Leaf{Position: m.Position, Time: m.Time, Partition: m.Partition, JSON: m.JSON, Sum: sha256.Sum256(m.Data)}
}

// Append appends the bytes of the leaf: version, position, time, partition, flags and the
// hash of the message. Numbers are big-endian.
func (l *Leaf) Append(dst []byte) []byte {
	flags := byte(0)
	if l.JSON {
		flags |= leafJSON
	}
	if l.Lost {
		flags |= leafLost
	}
	dst = append(dst, leafVersion)
	dst = binary.BigEndian.AppendUint64(dst, l.Position)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Time))
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.Partition))
	dst = append(dst, flags)
	return append(dst, l.Sum[:]...)
}

// ParseLeaf reads what Append wrote. Its errors match [ErrLeaf].
func ParseLeaf(b []byte) (Leaf, error) {
	if len(b) != LeafSize || b[0] != leafVersion || b[21]&^(leafJSON|leafLost) != 0 {
		return Leaf{}, fmt.Errorf("%w: %d bytes", ErrLeaf, len(b))
	}
	l := Leaf{
		Position: binary.BigEndian.Uint64(b[1:]), Time: int64(binary.BigEndian.Uint64(b[9:])),
		Partition: int(binary.BigEndian.Uint32(b[17:])), JSON: b[21]&leafJSON != 0, Lost: b[21]&leafLost != 0,
	}
	copy(l.Sum[:], b[22:])
	if l.Position == 0 || l.Lost && l != (Leaf{Position: l.Position, Lost: true}) {
		return Leaf{}, fmt.Errorf("%w: position %d", ErrLeaf, l.Position)
	}
	return l, nil
}

// Hash returns the hash of the leaf in the tree: SHA-256 of a zero byte and the leaf.
func (l *Leaf) Hash() Hash {
	var buf [1 + LeafSize]byte
	buf[0] = rfc6962.RFC6962LeafHashPrefix
	l.Append(buf[:1])
	return sha256.Sum256(buf[:])
}

// Children returns the hash of a node with these children: SHA-256 of a byte of one and
// both hashes.
func Children(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = rfc6962.RFC6962NodeHashPrefix
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}
