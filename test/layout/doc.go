// Package layout holds the tests of the shape of the module: which packages may
// import which, and how large a package and a type may become.
//
//	go test -v -run Table ./test/layout
//
// prints the packages with their files, lines and largest types.
package layout
