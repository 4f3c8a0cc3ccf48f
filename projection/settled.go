package projection

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// The settled figures of a HoldStat: total_seconds, weighted_score, score_exact,
// held_exact.
var settledFields = [...]protowire.Number{2, 3, 8, 9}

// settledEqual says whether two snapshots have the same settled figures. What
// does not decode is equal to nothing, which is the safe side: a reader of changes
// is then told once too often.
func settledEqual(a, b []byte) bool {
	x, ok := settledOf(a)
	y, too := settledOf(b)
	if !ok || !too {
		return false
	}
	for i := range x {
		if !bytes.Equal(x[i], y[i]) {
			return false
		}
	}
	return true
}

// settledOf gives the encoded values of the settled fields; nil for what is absent.
func settledOf(b []byte) (fields [len(settledFields)][]byte, ok bool) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fields, false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return fields, false
		}
		for i, f := range settledFields {
			if f == num {
				fields[i] = b[:n]
			}
		}
		b = b[n:]
	}
	return fields, true
}
