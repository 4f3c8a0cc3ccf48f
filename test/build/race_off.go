//go:build !race

package build

var raceFlags []string
