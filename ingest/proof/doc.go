// Package proof makes the event log provable: it hashes messages into a Merkle tree of
// the shape of RFC 6962, signs the root of the tree, and checks what was proved. It is
// pure: no I/O, no clock. Package transparency keeps such a tree beside a log.
//
// # One tree over the whole log
//
// The message at position N is leaf N-1 of one tree, whichever partition it is of. One
// root then states everything: a team compares one checkpoint between two payouts, not
// sixteen that could be of different moments. A proof costs one hash more for each
// doubling of the log, so a tree for each partition would save four hashes of forty.
//
// # What a leaf states
//
// A leaf states the position, the log's time, the partition, whether the message is
// JSON, and the SHA-256 of its bytes. Nothing else of a message decides how it counts.
// An export of the log has all of it, so anyone can build the tree of an export. The
// limits of the log (how far ahead times may be) and the rules of a generation are
// settings, and not leaves: the hashes of states are for those.
//
// A leaf has the hash of the whole message, which may be a frame of many events. The
// proof of one event therefore shows its neighbours in the frame to everyone who checks
// it. A hash for each event would cost four times as much while events come in.
package proof
