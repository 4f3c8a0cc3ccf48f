// Package embedded is a [projection.Store] in one data directory, on Pebble.
//
// A flush is one atomic batch, followed by an fsync. A flush that succeeded survives a
// power cut, and one that failed changes nothing. There is nothing to install and nothing
// to configure, but only one process can use the directory at a time.
//
// The keys are in keys.go, the encoding of records is in records.go.
package embedded
