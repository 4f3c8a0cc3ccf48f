// Package backup copies event logs, and what stands beside them, into one file,
// and makes them again from it, while everything runs.
//
// A backup is a tar file. Its first entry says what it is, [Manifest] lists the
// others with size and SHA-256, and the last one has the SHA-256 of every byte before
// it. So a file of which one bit was changed, which was cut off or has anything behind
// its end shows itself, and mostly says where. Between the first and the manifest are:
//
//	files/<path>          what the server gave of its data directory, such as stores
//	streams/<name>/<part> a snapshot of a JetStream stream, in parts
//
// The files of the server ([FileServer]) are copied before the streams, and the event log is
// the last of these. So nothing in a backup is ahead of its log, and what the log
// had acknowledged when the backup began is in it.
package backup
