package settings

import (
	"os"
	"path/filepath"
	"testing"
)

// The file lies beneath the environment, for settings and for variables that are none.
func TestDotEnv(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "variables")
	text := "\ufeffREPLICAS=3\r\nLEASE=8s\r\nPROMETHEUS_PORT=9999\r\nIMMUDB_URL=x\r\nDOTENV=elsewhere\r\nSTORE=\r\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := commandOf(t, map[string]string{EnvDotEnv: path, "LEASE": "7s", "REPLICAS": ""}, "worker", "--flush-interval", "2s")
	if err := UseDotEnv(c); err != nil {
		t.Fatal(err)
	}
	l, err := Load(c)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]string{
		KeyReplicas:      {"3", "REPLICAS of " + path},
		keyLease:         {"7s", "LEASE"},
		KeyMetrics:       {"127.0.0.1:9999", "PROMETHEUS_PORT of " + path},
		keyFlushInterval: {"2s", "--flush-interval"},
		KeyStore:         {StoreMongo, FromDefault},
	} {
		if value := l.Values.String(key); value != want[0] || l.From[key] != want[1] {
			t.Errorf("%s is %q from %q, want %q", key, value, l.From[key], want)
		}
	}
	getenv := EnvironmentOf(c)
	if getenv("IMMUDB_URL") != "x" || getenv(EnvDotEnv) != path || getenv("NATS_URL") != "" {
		t.Errorf("%q, %q, %q", getenv("IMMUDB_URL"), getenv(EnvDotEnv), getenv("NATS_URL"))
	}
}
