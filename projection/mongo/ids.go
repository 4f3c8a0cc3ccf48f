package mongo

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// The _id of a pair is partition, holder and token, of a holder the first two, with
// tabs between. Ids have no control characters, so a tab comes before all that
// stands in them, and the order of the _ids, which are compared by bytes, is that
// of partition, holder, token. A newline follows the tab: the range from "p\th\t"
// to "p\th\n" is the pairs of a holder, that from "p\t" to "p\n" the partition.
const (
	separator    = "\t"
	afterPrefix  = "\n"
	maxPartition = 9999 // so that all have four digits
)

func partitionPrefix(p int) string { return fmt.Sprintf("%04d", p) }

func holderID(prefix, holder string) string { return prefix + separator + holder }

func pairID(prefix string, k projection.PairKey) string {
	return prefix + separator + k.Holder + separator + k.Token
}

var errID = errors.New("its _id is not one of this program")

// pairKeyOf takes a pair's _id apart.
func pairKeyOf(id string) (projection.PairKey, error) {
	_, rest, ok := strings.Cut(id, separator)
	holder, token, ok2 := strings.Cut(rest, separator)
	if !ok || !ok2 {
		return projection.PairKey{}, errID
	}
	return projection.PairKey{Holder: holder, Token: token}, nil
}

// holderOf takes a holder's _id apart.
func holderOf(id string) (string, error) {
	_, holder, ok := strings.Cut(id, separator)
	if !ok {
		return "", errID
	}
	return holder, nil
}

// factID is a fact's _id: 5 bytes of the second that it is about, so that facts
// that come at about the same time lie together in the index, and 27 of a hash of
// all that makes it the fact it is.
func factID(partition int, k projection.PairKey, f *hold.Fact) bson.Binary {
	b := make([]byte, 0, 256)
	b = binary.AppendUvarint(b, uint64(partition))
	b = binary.AppendUvarint(b, uint64(len(k.Holder)))
	b = append(b, k.Holder...)
	b = binary.AppendUvarint(b, uint64(len(k.Token)))
	b = append(b, k.Token...)
	b = f.Append(b)
	sum := sha256.Sum256(b)
	about := f.Start
	if about == 0 {
		about = f.End
	}
	id := make([]byte, 0, 32)
	seconds := binary.BigEndian.AppendUint64(nil, uint64(about/1e9))
	id = append(id, seconds[3:]...)
	return bson.Binary{Data: append(id, sum[:27]...)}
}

// scoreKey is a score as bytes that sort as the score does. All keys have one
// length, without which MongoDB would compare the lengths.
func scoreKey(s hold.Score) bson.Binary {
	b := make([]byte, 0, 8*len(s))
	for i := len(s) - 1; i >= 0; i-- {
		b = binary.BigEndian.AppendUint64(b, s[i])
	}
	return bson.Binary{Data: b}
}
