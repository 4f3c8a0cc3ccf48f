package test

import (
	"os"
	"testing"

	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

// binary is holdmetrics, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(build.Run(func(path string) int {
		binary = path
		return testwait.Watch(m).Run()
	}))
}
