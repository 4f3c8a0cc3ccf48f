package logging

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, _ := New(&out, printing.JSON, zapcore.InfoLevel)
	log.Named("a").Info("happened\nhere \x1b[2J\u202e", zap.String("b", "c\x00\xff"), zap.Duration("took", 1500*time.Millisecond))
	log.Debug("not seen")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), "\x1b") {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if _, err := time.Parse(time.RFC3339Nano, line["time"].(string)); err != nil {
		t.Error(err)
	}
	if line["level"] != "info" || line["logger"] != "a" || line["msg"] != "happened\nhere \x1b[2J\u202e" || line["b"] != "c\x00\ufffd" || line["took"] != 1.5 {
		t.Errorf("%v", line)
	}
}

// The level counts for all cores, and each change is seen.
func TestLevel(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.DebugLevel)
	var out bytes.Buffer
	log, level := New(&out, printing.Console, zapcore.ErrorLevel, core)
	log.Warn("not seen")
	level.cycle("test")
	log.Debug("seen 1")
	level.cycle("test")
	log.Debug("not seen")
	log.Info("seen 2")
	level.set(zapcore.ErrorLevel, "test")
	level.set(zapcore.ErrorLevel, "test")
	log.Info("not seen")
	var got []string
	for _, e := range seen.All() {
		got = append(got, e.Message)
	}
	if want := "log level changed, seen 1, log level changed, seen 2, log level changed"; strings.Join(got, ", ") != want {
		t.Errorf("%q", got)
	}
	if strings.Count(out.String(), "\n") != len(got) || strings.Contains(out.String(), "not seen") {
		t.Errorf("%s", out.String())
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	_, level := New(&bytes.Buffer{}, printing.JSON, zapcore.InfoLevel)
	handler := Local(level)
	for _, c := range []struct {
		name, method, remote, body string
		header                     http.Header
		status                     int
		level                      string
	}{
		{"get", "GET", "127.0.0.1:1", "", nil, 200, "info"},
		{"put", "PUT", "127.0.0.1:1", `{"level":"debug"}`, nil, 200, "debug"},
		{"by IPv6", "PUT", "[::1]:1", `{"level":"warn"}`, nil, 200, "warn"},
		{"mapped", "PUT", "[::ffff:127.0.0.1]:1", `{"level":"error"}`, nil, 200, "error"},
		{"unknown", "PUT", "127.0.0.1:1", `{"level":"loud"}`, nil, 422, "error"},
		{"none", "PUT", "127.0.0.1:1", ``, nil, 422, "error"},
		{"large", "PUT", "127.0.0.1:1", `{"level":"debug"}` + strings.Repeat(" ", mostLevelBytes), nil, 422, "error"},
		{"post", "POST", "127.0.0.1:1", `{"level":"debug"}`, nil, 405, "error"},
		{"from elsewhere", "PUT", "192.0.2.1:1", `{"level":"debug"}`, nil, 403, "error"},
		{"read from elsewhere", "GET", "192.0.2.1:1", "", nil, 403, "error"},
		{"by a proxy", "PUT", "127.0.0.1:1", `{"level":"debug"}`, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, 403, "error"},
		{"of nowhere", "PUT", "@", `{"level":"debug"}`, nil, 403, "error"},
	} {
		r := httptest.NewRequest(c.method, Path, strings.NewReader(c.body))
		r.RemoteAddr = c.remote
		for name := range c.header {
			r.Header[name] = c.header[name]
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.status || level.Get().String() != c.level {
			t.Errorf("%s: %d, level %v: %s", c.name, w.Code, level.Get(), w.Body)
		}
		if w.Code == 200 && strings.TrimSpace(w.Body.String()) != `{"level":"`+c.level+`"}` {
			t.Errorf("%s: %s", c.name, w.Body)
		}
	}
}
