package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
)

// commandOf returns a command whose flags are parsed, and whose environment is env.
func commandOf(t *testing.T, env map[string]string, role string, args ...string) *cobra.Command {
	t.Helper()
	c := &cobra.Command{}
	c.SetContext(WithEnvironment(t.Context(), func(name string) string { return env[name] }))
	Roles[role](c)
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
	t.Parallel()
	path := writeFile(t, "replicas: 3\nlease: 7s\nflush-interval: 2\nnats-url: nats://file\ngrpc-address: 127.0.0.1:1\nmongo-pool-max: 7\n")
	env := map[string]string{"NATS_URL": "nats://environment", "LEASE": "8s", "MONGODB_URI": "mongodb://db/", "PROMETHEUS_PORT": "9999"}
	worker := commandOf(t, env, "worker", "--config", path, "--lease", "9s")
	flags := worker.Flags()
	l, err := Load(worker)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(l.Values, flags)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Cluster
	if c.Replicas != 3 || c.Lease != 9*time.Second || c.FlushInterval != 2*time.Second || c.NATS.URL != "nats://environment" ||
		c.Mongo.URL != "mongodb://db/" || c.Mongo.PoolMax != 7 || c.Partitions != 16 || s.Metrics.Address != "127.0.0.1:9999" || c.WorkerID == "" {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]string{
		KeyReplicas: path, keyLease: "--lease", KeyNATSURL: "NATS_URL", KeyMongoURL: "MONGODB_URI",
		keyPartitions: "default", KeyMetrics: "PROMETHEUS_PORT", KeyConfig: "--config",
	} {
		if got := l.From[key]; got != want {
			t.Errorf("%s is from %q, want %q", key, got, want)
		}
	}
	if _, other := l.From[KeyGRPC]; other {
		t.Error("a setting of another command")
	}

	env[EnvConfig] = path
	again, err := Read(commandOf(t, env, "worker"))
	if err != nil || again.Cluster.Replicas != 3 || again.Cluster.Lease != 8*time.Second {
		t.Errorf("%+v, %v", again, err)
	}
	if s, err := Read(commandOf(t, env, "serve")); err != nil || s.GRPCAddress != "127.0.0.1:1" {
		t.Errorf("%+v, %v", s, err)
	}
	env["MAX_FUTURE_END"] = "1h"
	if s, err := Read(commandOf(t, env, "gateway")); err != nil || !s.LimitsGiven || s.Limits.MaxFutureEnd != int64(time.Hour) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			args := c.args
			if c.file != "" {
				args = append(args, "--config", writeFile(t, c.file))
			}
			_, err := Read(commandOf(t, c.env, "worker", args...))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := Read(commandOf(t, nil, "worker", "--config", "/no/such/file")); err == nil {
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
		if got := Mask(value); got != want || strings.Contains(got, "secre") {
			t.Errorf("%s shows as %s, want %s", value, got, want)
		}
	}
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]zapcore.Level{
		"debug": zapcore.DebugLevel, "INFO": zapcore.InfoLevel, "Warn": zapcore.WarnLevel, "WARNING": zapcore.WarnLevel,
		"error": zapcore.ErrorLevel, "CRITICAL": zapcore.ErrorLevel, "critical": zapcore.ErrorLevel, "Critical": zapcore.ErrorLevel,
	} {
		for _, role := range []string{"serve", "gateway", "worker"} {
			s, err := Read(commandOf(t, map[string]string{"LOG_LEVEL": text}, role))
			if err != nil || s.LogLevel != want {
				t.Errorf("%s with %s: %v, want %v", role, text, err, want)
			}
		}
	}
	if _, err := Read(commandOf(t, map[string]string{"LOG_LEVEL": "criticals"}, "serve")); err == nil || !strings.Contains(err.Error(), "LOG_LEVEL") {
		t.Errorf("a level that is not known: %v", err)
	}
}
