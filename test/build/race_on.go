//go:build race

package build

// raceFlags make the binary under test look for races as the tests do.
var raceFlags = []string{"-race"}
