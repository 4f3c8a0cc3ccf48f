package settings

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Unused lists, for each command, the well-known environment variables that it
// ignores. An operator who sets one expects an effect, so the command warns.
var Unused = map[string][]string{
	"serve": {
		"PROMETHEUS_PORT", "NATS_URL",
		"MONGODB_URL", "MONGODB_URI", "MONGODB_DB", "MONGO_POOL_MAX", "MONGO_POOL_MIN",
		"MONGO_SST_MS", "MONGO_CONNECT_MS", "IMMUDB_URL",
	},
	"gateway": {"PROMETHEUS_PORT", "IMMUDB_URL"},
	"worker":  {"IMMUDB_URL"},
}

// WarnUnused writes one line with the names of the unused variables that are set.
// It never writes values, which may carry passwords.
func WarnUnused(out io.Writer, command string, getenv Getenv) {
	set := slices.DeleteFunc(slices.Clone(Unused[command]), func(name string) bool { return getenv(name) == "" })
	if len(set) > 0 {
		fmt.Fprintf(out, "holdmetrics: %s does not use, and ignores: %s\n", command, strings.Join(set, ", "))
	}
}
