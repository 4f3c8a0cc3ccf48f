// Package holdpb is the wire contract of holdmetrics: hold.proto and the code generated from it.
//
// The generated files are committed; `make generate` rewrites them and needs only Go.
package holdpb
