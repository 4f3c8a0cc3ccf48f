// Package embedded is a [projection.Store] in one data directory, on Pebble.
//
// A flush is one atomic batch with an fsync behind it: what Flush acknowledged
// survives a power cut, and what it refused left no trace. There is nothing to
// install and nothing to configure, but one process holds the directory at a
// time.
//
// keys.go says where everything lies, records.go how it is written.
package embedded
