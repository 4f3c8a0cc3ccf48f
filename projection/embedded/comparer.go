package embedded

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// newComparer is the order of bytes, with the pair as prefix (see keys.go).
//
// Pebble wants prefixes to be compared first, then what is behind them, also of
// keys that it has cut at the front. For whole keys that is the order of bytes.
//
// Separator and Successor may shorten keys of index blocks in the comparer that
// Pebble brings. A shortened key is none of ours, and Split would cut it
// elsewhere, so here they keep the key as it is: index blocks are a little
// larger.
func newComparer() *pebble.Comparer {
	keep := func(dst, a []byte) []byte { return append(dst, a...) }
	return &pebble.Comparer{
		Name:                 "holdmetrics.projection.v1",
		Compare:              compareKeys,
		Equal:                bytes.Equal,
		ComparePointSuffixes: bytes.Compare,
		CompareRangeSuffixes: bytes.Compare,
		Split:                splitKey,
		AbbreviatedKey:       pebble.DefaultComparer.AbbreviatedKey,
		FormatKey:            pebble.DefaultComparer.FormatKey,
		ImmediateSuccessor:   func(dst, a []byte) []byte { return appendEnd(append(dst, a...)) },
		Separator:            func(dst, a, _ []byte) []byte { return keep(dst, a) },
		Successor:            keep,
	}
}

func compareKeys(a, b []byte) int {
	n, m := splitKey(a), splitKey(b)
	if c := bytes.Compare(a[:n], b[:m]); c != 0 {
		return c
	}
	return bytes.Compare(a[n:], b[m:])
}
