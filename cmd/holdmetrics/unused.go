package main

import (
	"fmt"
	"io"
	"strings"
)

// notUsedYet are the environment names that are fixed for what serve does not do
// yet. Whoever sets one expects something of it.
var notUsedYet = []string{
	"COLLECT_INTERVAL", "PROMETHEUS_PORT", "OTLP_ENDPOINT", "NATS_URL",
	"MONGODB_URL", "MONGODB_URI", "MONGODB_DB", "MONGO_POOL_MAX", "MONGO_POOL_MIN",
	"MONGO_SST_MS", "MONGO_CONNECT_MS", "IMMUDB_URL",
}

// warnNotUsed says in one line which of them are set: names, never values, which
// may carry passwords.
func warnNotUsed(out io.Writer, getenv func(string) string) {
	var set []string
	for _, name := range notUsedYet {
		if getenv(name) != "" {
			set = append(set, name)
		}
	}
	if len(set) > 0 {
		fmt.Fprintf(out, "holdmetrics: serve does not use yet, and ignores: %s\n", strings.Join(set, ", "))
	}
}
