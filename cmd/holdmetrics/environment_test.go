package main

import (
	"testing"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// clearEnvironment takes away what the machine sets.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for name := range settings.Environment {
		t.Setenv(name, "")
	}
	for _, name := range []string{"HTTP_HOST", "HTTP_PORT", "PROMETHEUS_PORT", settings.EnvConfig} {
		t.Setenv(name, "")
	}
}
