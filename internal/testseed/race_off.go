//go:build !race

package testseed

const underRace = false
