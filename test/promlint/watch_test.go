package main

import (
	"os"
	"testing"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }
