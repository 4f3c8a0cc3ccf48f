// Package lease settles which worker owns which partition.
//
// What is agreed on stands in one key-value bucket, HOLD_LEASES_<generation>:
//
//	worker.<id>      a live worker and what it last reported; gone a lease time after it fell silent
//	partition.<n>    who owns the partition; gone a lease time after its last renewal
//
// Both kinds of key carry a time to live that the broker counts, so no clock is
// ever compared with another one. A key that runs out leaves a mark that every
// watcher sees; nobody polls.
//
//	          claim: the key must not exist          renewed every third of the lease
//	free ─────────────────────────────────▶ held ──────────┐
//	 ▲                                        │ ▲───────────┘
//	 │  released: the owner deletes the key   │
//	 ├────────────────────────────────────────┤
//	 │  run out: the broker deletes the key   │
//	 └────────────────────────────────────────┘
//
// Who should own what is no message either: [Assign] is a pure function of the
// live workers and the owners there are, and everybody computes it.
//
// A lease makes two owners at once unlikely and short, not impossible: an owner
// may sleep in the middle of a write. What makes it harmless is the epoch, with
// which stores and snapshots refuse what an older owner writes (see package
// processor).
package lease
