// Package backup copies event logs, other streams and files into one file while they are
// in use, and restores them from it.
//
// A backup is a tar file. Its first entry describes it. The [Manifest] lists the other
// entries with size and SHA-256. The last entry has the SHA-256 of every byte before it.
// So a changed bit, a missing end and anything after the end are detected, mostly with
// the place. Between the first entry and the manifest are:
//
//	files/<path>          files of the server's data directory, such as stores
//	streams/<name>/<part> a snapshot of a JetStream stream, in parts
//
// Buckets may be written over while they are copied. Their manifest has what came
// meanwhile ([Change]), and a restore publishes it.
//
// The files of the server ([FileServer]) are copied before the streams, and the event
// log last. So nothing in a backup is ahead of its log, and the backup has everything
// that the log had acknowledged when the backup began.
package backup
