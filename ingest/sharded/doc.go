// Package sharded works out the figures of the pairs of files on all cores, and keeps of
// each pair only what a question about it needs: sums where holds follow one another, and
// else compact rows that are folded once. Memory grows with pairs in the first case, and
// by 32 bytes a row in the second.
//
// A file is read in rounds. In the first half of a round, each goroutine parses blocks of
// rows into a [Batch], which sorts them by shard: a hash of the holder. In the second
// half, each goroutine takes shards, and applies what the batches have for them in the
// order of the file. So a pair belongs to one goroutine at a time, needs no lock, and gets
// its rows in their order. A shard is small enough for the caches of a core.
//
// The package does the common cases only. Everything else, every bad row among it, is an
// error that matches [ErrPlain]. Then the rows have to be read one by one, which tells
// what is wrong in the words that people know.
package sharded
