// Package projection keeps what the event log was turned into: the store (facts
// or pages of pairs, figures of pairs and holders, checkpoints) and the snapshot
// bucket that readers watch.
//
// The log is the truth. Everything that this package keeps can be deleted and
// comes back the same by replaying the log, as long as the store and the bucket
// are deleted together with their checkpoints and positions.
//
//   - [Store] and [Reader] are the store. Implementations live in sub-packages
//     and are held to one suite, package storetest.
//   - [Snapshots] writes the snapshot bucket, [View] keeps it in memory.
package projection
