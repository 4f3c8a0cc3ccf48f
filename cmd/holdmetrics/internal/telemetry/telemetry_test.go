package telemetry

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/otlptest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func to(t *testing.T, text string) settings.Signal {
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return settings.Signal{URL: u, Protocol: settings.ProtocolHTTP, Timeout: time.Second}
}

// Nothing to send is nil, all of whose methods may be called.
func TestNothing(t *testing.T) {
	t.Parallel()
	none, err := New(t.Context(), &settings.Telemetry{}, Identity{}, nil)
	if none != nil || err != nil {
		t.Fatal(none, err)
	}
	none.Report(zap.NewNop())
	stop, err := none.Push(t.Context(), prometheus.NewRegistry())
	if err != nil || stop(t.Context()) != nil || none.Shutdown(t.Context()) != nil || none.Tracer() != nil || none.Cores() != nil {
		t.Error("nothing does something")
	}
}

// No line that is sent has a password.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	r := otlptest.Start(t)
	cfg := settings.Telemetry{Logs: to(t, "http://"+r.HTTP+"/v1/logs"), Service: "holds"}
	sent, err := New(t.Context(), &cfg, Identity{Role: "serve"}, settings.Secrets{"s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	log := zap.New(sent.Cores()[0])
	log.Warn("of s3cret", zap.String("url", "nats://bob:s3cret@h"), zap.Error(errors.New("s3cret refused")), zap.Strings("all", []string{"a", "s3cret"}), zap.Int("n", 7))
	if err := sent.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := r.Lines()
	if len(lines) != 1 || lines[0].Body.GetStringValue() != "of ***" || otlptest.Text(lines[0].Attributes, "url") != "nats://bob:***@h" || otlptest.Number(lines[0].Attributes, "n") != 7 {
		t.Errorf("%v", lines)
	}
	if text := lines[0].String(); strings.Contains(text, "s3cret") {
		t.Errorf("%s", text)
	}
}

// A collector that is away has one line, and one when it is back.
func TestReport(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.InfoLevel)
	s := &sender{signal: "traces"}
	s.ended(errors.New("nobody listens to the log yet"))
	s.log.Store(zap.New(core))
	away := errors.New("away")
	for _, err := range []error{nil, away, away, nil, nil, away} {
		s.ended(err)
	}
	s.stop()
	s.ended(nil)
	var got []string
	for _, e := range seen.All() {
		got = append(got, e.Message)
	}
	const lost, back = "telemetry is not taken by the collector; it is dropped", "telemetry is taken by the collector again"
	if want := strings.Join([]string{lost, back, lost}, "\n"); strings.Join(got, "\n") != want {
		t.Errorf("%q", got)
	}
}
