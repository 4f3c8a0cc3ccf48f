// Package transparency keeps the Merkle tree of a log (package proof) beside it, and
// signs its root. From then on nobody changes, removes or inserts a message without
// being seen: neither an operator nor the owner of the key.
//
// # What is kept where
//
// The bucket HOLD_AUDIT has, for each log by its id:
//
//	head.<log id>                   the signed checkpoint, the right edge of the tree, the last leaf
//	tile.<log id>.<level>.<index>   256 hashes that never change again
//
// The log is the truth, and the bucket is what was stated about it. An update reads what
// the log has behind the head, writes the tiles that became full, and then the head, only
// if it is still the one that was read. A crash between the two leaves tiles that the next
// update writes again, with the same bytes. So a restart reads the head and nothing of the
// log, and a proof reads at most one tile for each eight levels of the tree.
//
// Several gateways may keep the tree of one log: each leaves it to the one that wrote
// last, and goes on where that one has stopped.
//
// # What is found
//
// Each update compares the message at the head with its leaf, so a log that was rolled
// back, or made again under the same id, is not signed: [ErrRewritten]. Each proof
// compares the message that it is of. A change anywhere else shows when the log is read
// whole ('holdmetrics-audit verify'), since the root of a changed log is another one.
package transparency
