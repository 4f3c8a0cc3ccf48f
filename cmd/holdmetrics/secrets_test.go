package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// secretSpellings are settings with a password, or a token, of which "s3c" is a part.
var secretSpellings = []struct {
	name, value string
	refused     bool
}{
	{"NATS_URL", "nats://bob:s3c%zzret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3cret@127.0.0.1:abc", true},
	{"NATS_URL", "nats://bob:s3cret@127.0.0.1:99999", true},
	{"NATS_URL", "nats://bob:s3c/ret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3c#ret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3c?ret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:1/s3cret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3c ret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3c^\"ret@127.0.0.1:1", true},
	{"NATS_URL", "tls://bob:s3c,ret@127.0.0.1:1", true},
	{"NATS_URL", "nats://bob:s3cret", true},
	{"NATS_URL", "bob:s3cret", true},
	{"NATS_URL", "s3c://ret@127.0.0.1:1", true},
	{"NATS_URL", "ws://bob:s3cret@127.0.0.1:1,nats://bob:s3cret@127.0.0.1:1", true},
	{"NATS_URL", "s3crettoken@127.0.0.1:1,nats://b:s3cret@127.0.0.1:1", false},
	{"NATS_URL", "bob:s3cret@127.0.0.1:1", false},
	{"NATS_URL", "nats://bob:s3c%2Fret@127.0.0.1:1", false},
	{"NATS_URL", "nats://bob:p@s3cret@127.0.0.1:1 , s3c@127.0.0.1:1,", false},
	{"NATS_MONITOR_URL", "bob:s3cret@127.0.0.1:1", true},
	{"NATS_MONITOR_URL", "http://bob:s3c%zzret@127.0.0.1:1", true},
	{"NATS_MONITOR_URL", "http://bob:s3c/ret@127.0.0.1:1", true},
	{"NATS_MONITOR_URL", "nats://bob:s3cret@127.0.0.1:1", true},
	{"NATS_MONITOR_URL", "http://s3cret:s3cret@127.0.0.1:1", false},
	{"MONGODB_URL", "bob:s3cret", true},
	{"MONGODB_URL", "mongodb://bob:s3cret", true},
	{"MONGODB_URL", "mongodb://bob:s3c%zzret@127.0.0.1:1/", true},
	{"MONGODB_URL", "mongodb://bob:s3c/ret@127.0.0.1:1/", true},
	{"MONGODB_URL", "mongodb://bob:x@127.0.0.1:1/?connect=s3cret", true},
	{"MONGODB_URL", "mongodb+srv://bob:s3cret", true},
	{"MONGODB_URL", "mongodb://bob:s3cret@127.0.0.1:1/?appName=s3cret", false},
}

// of returns an environment of these variables alone.
func of(env map[string]string) settings.Getenv {
	return func(name string) string { return env[name] }
}

// No spelling of a password comes out again, of whichever command.
func TestSecretsStayIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range secretSpellings {
		t.Run(c.name+" "+c.value, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"MONGODB_URL": "mongodb://127.0.0.1:1/"}
			env[c.name] = c.value
			commands := [][]string{{"config"}, {"config", "worker"}}
			if c.name == "NATS_URL" {
				commands = append(commands, []string{"generations"}, []string{"log", "verify"}, []string{"backup", filepath.Join(dir, "backup")},
					[]string{"generations", "--nats-url", c.value})
			}
			if c.refused {
				commands = append(commands, []string{"worker", "--metrics-address", "127.0.0.1:0"}, []string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"})
			}
			for _, args := range commands {
				var out bytes.Buffer
				code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out, getenv: of(env)})
				if strings.Contains(out.String(), "s3c") {
					t.Errorf("%v says %s", args, out.String())
				}
				if refused := c.refused && len(args) != 1 || c.refused && args[0] != "config"; refused && (code != exitUsage || !strings.Contains(out.String(), c.name)) {
					t.Errorf("%v ends with %d: %s", args, code, out.String())
				}
				if args[0] == "config" && !c.refused && code != exitOK {
					t.Errorf("%v ends with %d: %s", args, code, out.String())
				}
			}
		})
	}
}

// A worker whose servers are away says so without the password, and so does what
// looks at the monitoring port.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	for _, c := range secretSpellings {
		if c.refused || c.name != "NATS_URL" {
			continue
		}
		env := map[string]string{"MONGODB_URL": "mongodb://127.0.0.1:1/", "NATS_URL": c.value, "LOG_LEVEL": "warn"}
		ctx, cancel := context.WithCancel(t.Context())
		said := &firstWrite{then: cancel}
		run(ctx, []string{"worker", "--metrics-address", "127.0.0.1:0"}, streams{in: strings.NewReader(""), out: said, err: said, getenv: of(env)})
		cancel()
		if text := said.text.String(); !strings.Contains(text, "waiting") || strings.Contains(text, "s3c") {
			t.Errorf("%s: %s", c.value, text)
		}
	}
	for _, monitor := range []string{"bob:s3cret@127.0.0.1:1", "http://s3cret:s3cret@127.0.0.1:1", "http://bob:s3c%zz@127.0.0.1:1"} {
		_, _, err := app.SyncOf(t.Context(), monitor)
		if err == nil || strings.Contains(settings.InnerError(err).Error(), "s3c") {
			t.Errorf("%s: %v", monitor, settings.InnerError(err))
		}
	}
}

// firstWrite keeps what is written, and does something at the first of it.
type firstWrite struct {
	text bytes.Buffer
	then func()
}

func (w *firstWrite) Write(p []byte) (int, error) {
	defer w.then()
	return w.text.Write(p)
}

func TestNATSServers(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"h":                                "nats://h",
		"h:4222, nats://i/ ,":              "nats://h:4222,nats://i/",
		"token@h,tls://u:p%2C@[::1]:4222":  "nats://token@h,tls://u:p%2C@[::1]:4222",
		"wss://h/nats":                     "wss://h/nats",
		"nats://127.0.0.1:1,nats://[::1]:": "nats://127.0.0.1:1,nats://[::1]:",
	} {
		if got, err := settings.NATSServers(list); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", list, got, err, want)
		}
	}
	for _, list := range []string{"", " , ", "nats://", "http://h"} {
		if got, err := settings.NATSServers(list); err == nil {
			t.Errorf("%q is %q", list, got)
		}
	}
}

// The last line of defence: whatever is logged or printed.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	worker := &cobra.Command{}
	worker.SetContext(settings.WithEnvironment(t.Context(), of(map[string]string{
		"NATS_URL": `nats://bob:s3c%22%2Fret@h,s3cret"oken@i`, "MONGODB_URL": "mongodb://ann:s3c,ret-3@h/",
	})))
	settings.WorkerFlags(worker)
	s := settings.SecretsOf(worker)
	var out bytes.Buffer
	log := printing.NewLogger(s.Writer(&out), zap.WarnLevel)
	for _, text := range []string{`s3c"/ret`, "s3c%22%2Fret", `bob:s3c%22%2Fret`, `s3cret"oken`, "s3c,ret-3", "ann:s3c,ret-3"} {
		err := fmt.Errorf("parse %q and %s", "nats://"+text+"@h", text)
		log.Error("it broke", zap.Error(err))
		if got := s.Hide(err.Error()); strings.Contains(got, "s3c") {
			t.Errorf("%s", got)
		}
	}
	if strings.Contains(out.String(), "s3c") || strings.Count(out.String(), "\n") != 6 {
		t.Errorf("%s", out.String())
	}
}

// A file of settings that is no YAML is reported in one clean line.
func TestSettingsFileError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte("just a text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code := run(ctx, []string{"config", "--config", path}, streams{in: strings.NewReader(""), out: &out, err: &out}); code == exitOK ||
		!strings.Contains(out.String(), "unmarshal errors: line 1: ") {
		t.Errorf("%d: %s", code, out.String())
	}
}
