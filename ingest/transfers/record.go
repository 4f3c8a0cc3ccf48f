package transfers

import (
	"hash/maphash"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

// record is a row, in the few bytes that the stages after the reading need.
type record struct {
	at       int64       // ns
	value    uint256.Int // units of 1e-18, or of 1e-36 with flagFine
	token    uint32      // of the names of tokens
	from, to uint32      // of the names of holders; from is unused in statements
	row      uint64      // hash of the cells, of a row without an identity
	line     int32
	file     uint16
	flags    flags
}

type flags uint16

const (
	flagFine      flags = 1 << iota // the value has more than 18 places
	flagNFT                         // the token has one owner
	flagStatement                   // the value is the balance of to
	flagInterval                    // of a statement: it stands until one with flagUntil
	flagUntil                       // the end of such a statement
	flagSnapshot                    // of a statement: it is one of all holders
	flagCheck                       // of a statement: it corrects transfers
	flagRemoved                     // the log was taken back
	flagMark                        // of a snapshot: its time alone counts, as the row is of a token that was not asked for
)

// identity is the hash of what names a log. Two different logs do not come to the
// same 128 bits.
type identity struct{ a, b uint64 }

// identifier makes identities.
type identifier struct{ a, b maphash.Seed }

func newIdentifier() identifier { return identifier{maphash.MakeSeed(), maphash.MakeSeed()} }

func (h identifier) of(text []byte) identity {
	return identity{maphash.Bytes(h.a, text), maphash.Bytes(h.b, text)}
}

// fault is what is wrong with a token.
type fault struct {
	token uint32
	err   *rows.Error
}
