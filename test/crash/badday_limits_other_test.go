//go:build !linux

package crash

// limitedKinds need what only Linux has.
func limitedKinds() []*dayKind { return nil }
