// Package backup copies event logs, and what stands beside them, into one file,
// and makes them again from it, while everything runs.
//
// A backup is a tar file. Its first entry says what it is, its last one
// ([Manifest]) lists all others with size and SHA-256, so a file that was cut off
// or changed shows itself. Between them are:
//
//	files/<path>          what the server gave of its data directory, such as stores
//	streams/<name>/<part> a snapshot of a JetStream stream, in parts
//
// What the server gives ([Door]) is copied before the streams, and the event log is
// the last of these. So nothing in a backup is ahead of its log, and what the log
// had acknowledged when the backup began is in it.
package backup
