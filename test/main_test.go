package test

import (
	"os"
	"testing"

	"holdmetrics/test/build"
)

// binary is holdmetrics, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(build.Run(func(path string) int {
		binary = path
		return m.Run()
	}))
}
