package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// Where everything lies.
//
// A key begins with one byte that says what it is. Partitions are two bytes,
// big endian, so that they sort by number.
//
//	! .                                  the format of this directory
//	c <partition> .                      checkpoint
//	h <partition> <<holder>>             a holder's record
//	m <<name>>                           a value fixed when the store was made
//	p <partition> <<holder>> <<token>>   a pair's record, with its root page
//	p <partition> <<holder>> <<token>> <page key> <its length>
//	                                     a further page of that pair
//
// So a partition's holders are contiguous, and so are its pairs, a holder's
// pairs and a pair's pages, and all of them come in the order of the ids' bytes.
//
// <<id>> is the bytes of the id as they are, but 00 becomes 00 FF, and 00 00 ends
// it. Since 00 00 sorts before 00 FF and before every other byte, "a" sorts
// before "a\x00" and before "ab", whatever follows, which is the order of the ids
// themselves; and no encoded id is a prefix of another one, so a key can be taken
// apart in one way only. Any bytes can be an id, the empty string too. Ids
// without a zero byte, which are all that the servers accept, cost two bytes more
// than themselves. A dot above is such an end with no id before it.
//
// The page with the empty key is the root page. It lives in the pair's own
// record: nearly all pairs have no other page, and cost one put a flush and one
// seek a load. A pair that grows beyond it has its further pages under their own
// keys, behind the record; nothing has to be moved for that, in either
// direction.
//
// The record and the pages of a pair share a prefix, the pair's, and the
// comparer's Split says so to Pebble. So one prefix seek reads a pair with all
// its pages (of a large pair, only the root is read then; see [hold.IsRoot]), and one bloom filter probe a table tells that a pair is not there.
// Pebble wants to find the split also where leading bytes of a key are missing
// (it may keep them elsewhere), so Split looks at the end: the last two bytes of
// a page's key are the length of the page key, big endian and never zero, and
// the last two of every other key are an id's end, zero.
const (
	kindFormat     = '!'
	kindCheckpoint = 'c'
	kindHolder     = 'h'
	kindMeta       = 'm'
	kindPair       = 'p'
)

const (
	partitionEnd  = 3         // kind and partition
	maxPartition  = 1 << 16   // partitions are below it
	maxPageKey    = 1<<16 - 1 // bytes
	escaped       = 0xFF      // after 00: a zero byte
	terminator    = 0x00      // after 00: the end of the id
	terminatorEnd = 0x01      // after 00, in a bound: after all that has this prefix
	pageKeyTail   = 2         // the length behind a page key
)

var errKey = errors.New("a key that this store does not write")

func appendPartition(dst []byte, kind byte, partition int) []byte {
	return binary.BigEndian.AppendUint16(append(dst, kind), uint16(partition))
}

// partitionBounds are the bounds of all keys of a kind and a partition. Bounds
// end as keys do, for Pebble splits them too.
func partitionBounds(kind byte, partition int) (lower, upper []byte) {
	lower = appendEnd(appendPartition(nil, kind, partition))
	if partition+1 == maxPartition {
		return lower, appendEnd([]byte{kind + 1})
	}
	return lower, appendEnd(appendPartition(nil, kind, partition+1))
}

func appendEnd(dst []byte) []byte { return append(dst, 0, terminator) }

// appendID appends an id that something follows.
func appendID(dst []byte, id string) []byte {
	for {
		zero := strings.IndexByte(id, 0)
		if zero < 0 {
			return appendEnd(append(dst, id...))
		}
		dst = append(append(dst, id[:zero]...), 0, escaped)
		id = id[zero+1:]
	}
}

// cutID takes one id off the front of b.
func cutID(b []byte) (id string, rest []byte, err error) {
	n, plain := idLen(b)
	if n == 0 {
		return "", nil, errKey
	}
	if plain {
		return string(b[:n-2]), b[n:], nil
	}
	var s strings.Builder
	for in := b[:n-2]; len(in) > 0; {
		zero := bytes.IndexByte(in, 0)
		if zero < 0 {
			s.Write(in)
			break
		}
		s.Write(in[:zero+1])
		in = in[zero+2:]
	}
	return s.String(), b[n:], nil
}

// idLen returns the length of the encoded id at the front of b, with its end, or 0 if
// b does not begin with one. plain reports whether no byte of it is escaped.
func idLen(b []byte) (n int, plain bool) {
	plain = true
	for n < len(b) {
		zero := bytes.IndexByte(b[n:], 0)
		if zero < 0 || n+zero+1 >= len(b) {
			return 0, false
		}
		n += zero + 2
		switch b[n-1] {
		case terminator:
			return n, plain
		case escaped:
			plain = false
		default:
			return 0, false
		}
	}
	return 0, false
}

func appendHolderKey(dst []byte, partition int, holder string) []byte {
	return appendID(appendPartition(dst, kindHolder, partition), holder)
}

func formatKey() []byte { return appendEnd([]byte{kindFormat}) }

func checkpointKey(dst []byte, partition int) []byte {
	return appendEnd(appendPartition(dst, kindCheckpoint, partition))
}

func metaKey(name string) []byte { return appendID([]byte{kindMeta}, name) }

// appendPageKey appends a page's key, not empty, to its pair's.
func appendPageKey(pair, page []byte) []byte {
	return binary.BigEndian.AppendUint16(append(pair, page...), uint16(len(page)))
}

// appendHolderPrefix appends what all pairs of a holder begin with.
func appendHolderPrefix(dst []byte, partition int, holder string) []byte {
	return appendID(appendPartition(dst, kindPair, partition), holder)
}

func appendPairKey(dst []byte, partition int, holder, token string) []byte {
	return appendID(appendHolderPrefix(dst, partition, holder), token)
}

// afterPrefix turns a key that ends with an id's end into a bound after all that
// begin with it. It changes b.
func afterPrefix(b []byte) []byte {
	b[len(b)-1] = terminatorEnd
	return appendEnd(b)
}

// splitKey is the comparer's Split: the length of what a pair's record and pages
// share. All other keys stand alone. It accepts any bytes.
func splitKey(key []byte) int {
	n := len(key) - pageKeyTail
	if n < 0 {
		return len(key)
	}
	page := int(binary.BigEndian.Uint16(key[n:]))
	if page == 0 || page > n {
		return len(key)
	}
	return n - page
}
