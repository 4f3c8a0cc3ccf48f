package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// clearEnvironment takes away what the machine sets.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for name := range environment {
		t.Setenv(name, "")
	}
	for _, name := range []string{"HTTP_HOST", "HTTP_PORT", "PROMETHEUS_PORT", envConfig} {
		t.Setenv(name, "")
	}
}

func commandOf(t *testing.T, role string, args ...string) *cobra.Command {
	t.Helper()
	c := &cobra.Command{}
	roles[role](c)
	if err := c.Flags().Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag beats the environment, which beats the file, which beats the default.
func TestSettingsLayers(t *testing.T) {
	clearEnvironment(t)
	path := writeFile(t, "replicas: 3\nlease: 7s\nflush-interval: 2\nnats-url: nats://file\ngrpc-address: 127.0.0.1:1\nmongo-pool-max: 7\n")
	t.Setenv("NATS_URL", "nats://environment")
	t.Setenv("LEASE", "8s")
	t.Setenv("MONGODB_URI", "mongodb://db/")
	t.Setenv("PROMETHEUS_PORT", "9999")
	flags := commandOf(t, "worker", "--config", path, "--lease", "9s").Flags()
	l, err := loadLayers(flags)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSettings(l.k, flags)
	if err != nil {
		t.Fatal(err)
	}
	c := s.cluster
	if c.replicas != 3 || c.lease != 9*time.Second || c.flushInterval != 2*time.Second || c.natsURL != "nats://environment" ||
		c.mongo.URL != "mongodb://db/" || c.mongo.PoolMax != 7 || c.partitions != 16 || c.metricsAddress != "0.0.0.0:9999" || c.workerID == "" {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]string{
		keyReplicas: path, keyLease: "--lease", keyNATSURL: "NATS_URL", keyMongoURL: "MONGODB_URI",
		keyPartitions: "default", keyMetrics: "PROMETHEUS_PORT", keyConfig: "--config",
	} {
		if got := l.from[key]; got != want {
			t.Errorf("%s is from %q, want %q", key, got, want)
		}
	}
	if _, other := l.from[keyGRPC]; other {
		t.Error("a setting of another command")
	}

	t.Setenv(envConfig, path)
	again, err := readSettings(commandOf(t, "worker"))
	if err != nil || again.cluster.replicas != 3 || again.cluster.lease != 8*time.Second {
		t.Errorf("%+v, %v", again, err)
	}
	if s, err := readSettings(commandOf(t, "serve")); err != nil || s.grpcAddress != "127.0.0.1:1" {
		t.Errorf("%+v, %v", s, err)
	}
	t.Setenv("MAX_FUTURE_END", "1h")
	if s, err := readSettings(commandOf(t, "gateway")); err != nil || !s.limitsGiven || s.limits.MaxFutureEnd != int64(time.Hour) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	clearEnvironment(t)
	for name, c := range map[string]struct {
		file string
		args []string
		env  map[string]string
		want string
	}{
		"unknown key":   {file: "leese: 5s", want: `"leese" is no setting`},
		"a dotted key":  {file: "lease.time: 5s", want: `"lease.time" is no setting`},
		"a list":        {file: "nats-url: [a, b]", want: "one value"},
		"config itself": {file: "config: x", want: "is no setting"},
		"no YAML":       {file: "{", want: "cannot be read"},
		"lease":         {args: []string{"--lease", "1500ms"}, want: "--lease or LEASE"},
		"lease of none": {args: []string{"--lease", "0"}, want: "whole seconds"},
		"replicas":      {env: map[string]string{"REPLICAS": "six"}, want: "--replicas or REPLICAS"},
		"store":         {args: []string{"--store", "memory"}, want: "mongo or embedded"},
		"two databases": {env: map[string]string{"MONGODB_URL": "mongodb://secret-a", "MONGODB_URI": "mongodb://secret-b"}, want: "MONGODB_URI and MONGODB_URL are both set"},
		"no NATS":       {args: []string{"--nats-url", ""}, want: "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(args, "--config", writeFile(t, c.file))
			}
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			_, err := readSettings(commandOf(t, "worker", args...))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := readSettings(commandOf(t, "worker", "--config", "/no/such/file")); err == nil {
		t.Error("a file that is not there")
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                                     "",
		"0.0.0.0:9090":                         "0.0.0.0:9090",
		"nats://h:4222,nats://i":               "nats://h:4222,nats://i",
		"nats://u:secret@h:4222":               "nats://***@h:4222",
		"nats://secret@h":                      "nats://***@h",
		"u:secret@h:4222":                      "***@h:4222",
		"nats://a:secret@h,nats://b:secret@i":  "nats://***@i",
		"mongodb://u:se,cret@h1,h2/?tls=true":  "mongodb://***@h1,h2/?***",
		"mongodb://u:secret@h/?password=secre": "mongodb://***@h/?***",
	} {
		if got := masked(value); got != want || strings.Contains(got, "secre") {
			t.Errorf("%s shows as %s, want %s", value, got, want)
		}
	}
}
