//go:build race

package build

// Race reports whether this test, and the binary under test, look for races, and are
// slower for it.
const Race = true
