package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// notUsed are the environment names that are fixed for what a command does not do,
// or does not do yet; serve has a NATS server and a store of its own. Whoever sets
// one expects something of it.
var notUsed = map[string][]string{
	"serve": {
		"COLLECT_INTERVAL", "PROMETHEUS_PORT", "OTLP_ENDPOINT", "NATS_URL",
		"MONGODB_URL", "MONGODB_URI", "MONGODB_DB", "MONGO_POOL_MAX", "MONGO_POOL_MIN",
		"MONGO_SST_MS", "MONGO_CONNECT_MS", "IMMUDB_URL",
	},
	"gateway": {"COLLECT_INTERVAL", "PROMETHEUS_PORT", "OTLP_ENDPOINT", "IMMUDB_URL"},
	"worker":  {"COLLECT_INTERVAL", "OTLP_ENDPOINT", "IMMUDB_URL"},
}

// warnNotUsed says in one line which of them are set: names, never values, which
// may carry passwords.
func warnNotUsed(out io.Writer, command string, getenv func(string) string) {
	set := slices.DeleteFunc(slices.Clone(notUsed[command]), func(name string) bool { return getenv(name) == "" })
	if len(set) > 0 {
		fmt.Fprintf(out, "holdmetrics: %s does not use, and ignores: %s\n", command, strings.Join(set, ", "))
	}
}
