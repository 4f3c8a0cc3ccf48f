// Package mongo is a projection.Store on MongoDB, for deployments of several
// processes. It needs no transactions, sessions or change streams, and works on a
// single server as on a replica set.
//
// # What is stored
//
//	hold_events   one document a fact; inserted, never changed, and removed only
//	              when what was sealed stands for it
//	hold_pairs    one document a pair: its figures, what was sealed of it, and its
//	              facts while they are few
//	hold_stats    one document a holder
//	hold_sealed   one document for each pair with facts that are still to be removed
//	checkpoints   one document a partition, and its owner's epoch
//	hold_meta     the store's format and its fixed values
//
// Fields for people (dates in milliseconds, doubles, names) are beside the exact
// values. Only the exact values are read back.
//
// # One checkpoint at a time
//
// A flush is many writes, and readers must not see half of one. So nothing that a
// flush writes can be seen before its checkpoint, which is its last write:
//
//   - A fact has the position of the log that first states it. At a checkpoint of
//     position P the facts with position <= P count, and no others.
//   - A document of figures has its last few versions, each with the epoch and
//     the position of the flush that wrote it. At a checkpoint (P, E) the version
//     with the greatest (epoch, position) counts, of those with position <= P and
//     epoch <= E. An owner begins where the checkpoint stands, and its flushes
//     touch again whatever an earlier owner wrote beyond that; so what a flush
//     without a checkpoint left is either out of sight or was written over.
//   - A view can outlive the version it needs, which goes versionsKept flushes of the
//     same holder later. The view then folds the figures again, from the facts, which are
//     all still there, or from what was sealed and the other facts. The line is the
//     same. It may begin at the last fact instead of the last event, which may have
//     been a duplicate.
//   - What was sealed at a position holds at every checkpoint there or later; see
//     sealed.go. A view of an earlier one, whose facts are removed, says so
//     ([projection.ErrOutdated]).
//
// # Owners
//
// Figures and checkpoints are written by upserts whose filter matches only a document
// with a smaller (epoch, position). Otherwise the upsert tries to insert the same _id,
// and the server answers E11000. The same happens if two upserts race. So after E11000
// the store reads the document: a greater epoch is [projection.ErrFenced], the same
// epoch and position was written already, and a smaller one is tried again. For a fact,
// E11000 means that it is there.
//
// Store.Claim writes an owner's epoch before its first flush, so that from then
// on no older owner can move the checkpoint. It is a write of its own that a
// majority has acknowledged, after which nothing that it answered can be rolled
// back. From then on the owner's reads (Load, LoadHolders, HolderPairs,
// ChangedSince) are of that checkpoint and of those that its own flushes write,
// whatever a lagging primary would say.
//
// # What is read how
//
// Writes wait for a majority. Checkpoints are read with read concern majority,
// other documents with local, from the primary: whatever a majority-committed
// checkpoint stands for was majority-committed before it, so a primary has it; and
// what it has beyond that, and might lose again, is not seen at that checkpoint.
package mongo
