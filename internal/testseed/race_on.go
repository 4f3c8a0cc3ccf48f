//go:build race

package testseed

const underRace = true
