//go:build !cgo || !linux

package app

// fewArenas does nothing: there is no allocator of C, or not one that keeps free memory
// for each thread.
func fewArenas() {}
