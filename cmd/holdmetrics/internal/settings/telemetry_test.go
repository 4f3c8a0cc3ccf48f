package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTelemetry(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		env    map[string]string
		args   []string
		traces string // "": nothing is sent
		proto  string
		check  func(*Telemetry) bool
	}{
		{"nothing", nil, nil, "", "", nil},
		{"ours by gRPC's port", map[string]string{"OTLP_ENDPOINT": "http://c:4317"}, nil, "http://c:4317/v1/traces", ProtocolGRPC, func(s *Telemetry) bool {
			return s.Sampler == DefaultSampler && s.Interval == time.Minute && s.Service == "holdmetrics" && s.Traces.Timeout == 10*time.Second
		}},
		{"ours beats the standard's", map[string]string{"OTLP_ENDPOINT": "http://ours:1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://theirs:1"}, nil, "http://ours:1/v1/traces", ProtocolHTTP, nil},
		{"a flag beats both", map[string]string{"OTLP_ENDPOINT": "http://ours:1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://theirs:1"}, []string{"--otlp-endpoint", "http://flag:1/base"}, "http://flag:1/base/v1/traces", ProtocolHTTP, nil},
		{"the one of a signal beats all", map[string]string{"OTLP_ENDPOINT": "http://ours:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://own/x"}, nil, "https://own:443/x", ProtocolHTTP, func(s *Telemetry) bool {
			return s.Logs.URL.String() == "http://ours:1/v1/logs" && s.Metrics.URL.String() == "http://ours:1/v1/metrics"
		}},
		{"of one signal alone", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own:1"}, nil, "http://own:1/", ProtocolHTTP, func(s *Telemetry) bool { return s.Logs.URL == nil && s.Metrics.URL == nil }},
		{"bare, of another machine", map[string]string{"OTLP_ENDPOINT": "c:4317"}, nil, "https://c:4317/v1/traces", ProtocolGRPC, nil},
		{"bare, of this machine", map[string]string{"OTLP_ENDPOINT": "localhost:4317"}, nil, "http://localhost:4317/v1/traces", ProtocolGRPC, nil},
		{"bare and insecure", map[string]string{"OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, nil, "http://c:4317/v1/traces", ProtocolGRPC, nil},
		{"a signal that is off", map[string]string{"OTLP_ENDPOINT": "http://c:1", "OTEL_LOGS_EXPORTER": "none"}, nil, "http://c:1/v1/traces", ProtocolHTTP, func(s *Telemetry) bool { return s.Logs.URL == nil && s.Metrics.URL != nil }},
		{"all off", map[string]string{"OTLP_ENDPOINT": "http://c:1", "OTEL_SDK_DISABLED": "true"}, nil, "", "", nil},
		{"everything", map[string]string{
			"OTLP_ENDPOINT": "https://c:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%2Cc, d=e",
			"OTEL_EXPORTER_OTLP_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_CERTIFICATE": ca,
			"OTEL_METRIC_EXPORT_INTERVAL": "2000", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25",
			"OTEL_RESOURCE_ATTRIBUTES": "service.name=r,x=y", "OTEL_SERVICE_NAME": "s",
		}, nil, "https://c:1/v1/traces", ProtocolHTTP, func(s *Telemetry) bool {
			return s.Metrics.Protocol == ProtocolGRPC && s.Traces.Headers["a"] == "b,c" && s.Traces.Headers["d"] == "e" && s.Traces.Timeout == 500*time.Millisecond && s.Traces.Compress &&
				s.Traces.Authorities == ca && s.Interval == 2*time.Second && s.Ratio == 0.25 && s.Service == "s" && s.Attributes["x"] == "y"
		}},
		{"our interval beats the standard's", map[string]string{"OTLP_ENDPOINT": "http://c:1", "OTEL_METRIC_EXPORT_INTERVAL": "2000", "COLLECT_INTERVAL": "15"}, nil, "http://c:1/v1/traces", ProtocolHTTP, func(s *Telemetry) bool { return s.Interval == 15*time.Second }},
	} {
		for _, role := range []string{"serve", "gateway", "worker"} {
			s, err := Read(commandOf(t, c.env, role, c.args...))
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, role, err)
				continue
			}
			got := ""
			if u := s.Telemetry.Traces.URL; u != nil {
				got = u.String()
			}
			if got != c.traces || s.Telemetry.Traces.Protocol != c.proto || c.check != nil && !c.check(&s.Telemetry) {
				t.Errorf("%s, %s: %s %s, %+v", c.name, role, got, s.Telemetry.Traces.Protocol, s.Telemetry)
			}
		}
	}
}

// A value that cannot be used is named, and no password is quoted.
func TestTelemetryErrors(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"OTLP_ENDPOINT":                              "ftp://c",
		"OTEL_EXPORTER_OTLP_ENDPOINT":                "http://bob:s3cret@c:1",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":         "http://c:port-s3cret",
		"OTEL_EXPORTER_OTLP_PROTOCOL":                "http/json",
		"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL":           "udp",
		"OTEL_EXPORTER_OTLP_HEADERS":                 "s3cret",
		"OTEL_EXPORTER_OTLP_METRICS_HEADERS":         "a=s3cret%zz",
		"OTEL_EXPORTER_OTLP_TIMEOUT":                 "-1",
		"OTEL_EXPORTER_OTLP_COMPRESSION":             "zstd",
		"OTEL_EXPORTER_OTLP_INSECURE":                "maybe",
		"OTEL_EXPORTER_OTLP_CERTIFICATE":             "/nowhere/ca.pem",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE":      "telemetry_test.go",
		"OTEL_METRIC_EXPORT_INTERVAL":                "1m",
		"COLLECT_INTERVAL":                           "0",
		"OTEL_TRACES_SAMPLER":                        "sometimes",
		"OTEL_TRACES_EXPORTER":                       "zipkin",
		"OTEL_SDK_DISABLED":                          "no",
		"OTEL_RESOURCE_ATTRIBUTES":                   "x",
		"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY":       "telemetry_test.go",
		"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT":            "soon",
		"OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY":      "/nowhere/key.pem",
		"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION":     "br",
		"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT":           "http://",
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE":      "/nowhere/ca.pem",
		"OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE": "/nowhere/cert.pem",
	} {
		env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", name: value}
		_, err := Read(commandOf(t, env, "serve"))
		want := name
		if strings.HasSuffix(name, "_CLIENT_KEY") && !strings.HasPrefix(value, "/nowhere") { // the certificate is missing
			want = "CLIENT_CERTIFICATE"
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}
	if _, err := Read(commandOf(t, env, "serve")); err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_SAMPLER_ARG") {
		t.Error(err)
	}
	hidden := SecretsOf(commandOf(t, map[string]string{"OTEL_EXPORTER_OTLP_LOGS_HEADERS": "authorization=Bearer%20s3cret-key"}, "serve"))
	if got := hidden.Hide("sent Bearer s3cret-key and Bearer%20s3cret-key"); strings.Contains(got, "s3cret") {
		t.Errorf("%s", got)
	}
}
