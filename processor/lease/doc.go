// Package lease decides which worker owns which partition.
//
// The workers share one key-value bucket, HOLD_LEASES_<generation>:
//
//	worker.<id>      a live worker and its last report; expires a lease time after the last renewal
//	partition.<n>    the owner of the partition; expires a lease time after the last renewal
//
// Both kinds of key have a time to live that the broker counts, so no two clocks are
// compared. A key that expires leaves a marker that every watcher sees, so nothing
// polls.
//
//	          claim: the key must not exist          renewed every third of the lease
//	free ─────────────────────────────────▶ held ──────────┐
//	 ▲                                        │ ▲───────────┘
//	 │  released: the owner deletes the key   │
//	 ├────────────────────────────────────────┤
//	 │  expired: the broker deletes the key   │
//	 └────────────────────────────────────────┘
//
// The assignment is not sent either: [Assign] is a pure function of the live workers and
// the current owners, and every worker computes it.
//
// A lease does not exclude that a partition has two owners for a short time: an owner may
// be paused in the middle of a write. The epoch makes this harmless: stores and snapshots
// refuse the writes of an older owner (see package processor).
package lease
