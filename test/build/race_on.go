//go:build race

package build

// Race says whether this test, and the binary under test, look for races, and are
// slower for it.
const Race = true

// raceFlags make the binary under test look for races as the tests do.
var raceFlags = []string{"-race"}
