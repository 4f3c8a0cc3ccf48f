package settings

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// The keys of the settings of telemetry that have a flag. The others are the standard
// variables of OpenTelemetry.
const (
	KeyOTLP         = "otlp-endpoint"
	keyCollectEvery = "collect-interval"
)

// The names of the standard variables begin so.
const (
	otlpPrefix   = "OTEL_EXPORTER_OTLP_"
	envAttribute = "OTEL_RESOURCE_ATTRIBUTES"
)

// The protocols of OTLP.
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http/protobuf"
)

const (
	defaultOTLPTimeout  = 10 * time.Second
	defaultCollectEvery = time.Minute
	grpcPort            = "4317" // of a collector, by convention
)

// Telemetry says where traces, metrics and lines of the log are sent to. The zero value
// sends nothing.
type Telemetry struct {
	Traces, Metrics, Logs Signal

	Interval time.Duration // between two pushes of metrics
	Sampler  string        // as OTEL_TRACES_SAMPLER names them
	Ratio    float64       // of a sampler by ratio

	Service    string            // service.name
	Attributes map[string]string // of the resource
}

// Signal says where one signal is sent to.
type Signal struct {
	URL         *url.URL // nil: nowhere; the path counts for HTTP alone
	Protocol    string
	Headers     map[string]string
	Timeout     time.Duration
	Compress    bool
	Authorities string // file of certificates that are trusted; empty: those of the system
	Certificate string // file of the client's own certificate; empty: none
	Key         string // file of its key
}

// On reports whether anything is sent.
func (t *Telemetry) On() bool {
	return t.Traces.URL != nil || t.Metrics.URL != nil || t.Logs.URL != nil
}

// Collectors returns the addresses that something is sent to, each once.
func (t *Telemetry) Collectors() (all []string) {
	for _, s := range []*Signal{&t.Traces, &t.Metrics, &t.Logs} {
		if s.URL != nil && !slices.Contains(all, s.URL.Host) {
			all = append(all, s.URL.Host)
		}
	}
	return all
}

// telemetryFlags adds the flags of telemetry.
func telemetryFlags(f *pflag.FlagSet) {
	f.String(KeyOTLP, "", "`URL` of an OpenTelemetry collector that takes metrics, traces and logs by OTLP (OTLP_ENDPOINT; default: that of the standard variables, see docs/observability.md)")
	f.String(keyCollectEvery, "", "how often metrics are pushed to the collector (COLLECT_INTERVAL; default: OTEL_METRIC_EXPORT_INTERVAL, or 1m)")
}

// readTelemetry reads the standard variables of OpenTelemetry. endpoint and interval are
// ours, and beat them; empty: not given.
func readTelemetry(getenv Getenv, endpoint, interval string) (t Telemetry, err error) {
	env := otelEnv{getenv: getenv}
	if env.flag("OTEL_SDK_DISABLED") {
		return Telemetry{}, env.err
	}
	if endpoint == "" {
		endpoint = getenv(otlpPrefix + "ENDPOINT")
	}
	t.Traces, t.Metrics, t.Logs = env.signal("TRACES", endpoint), env.signal("METRICS", endpoint), env.signal("LOGS", endpoint)
	if env.err != nil || !t.On() {
		return Telemetry{}, env.err
	}
	t.Interval = env.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", defaultCollectEvery)
	if interval != "" {
		length, err := ParseDuration(interval)
		if err == nil && length <= 0 {
			err = errors.New("it is not longer than nothing")
		}
		if err != nil {
			return Telemetry{}, usage.Errorf("%s: %q: %w", Describe(keyCollectEvery), interval, err)
		}
		t.Interval = time.Duration(length)
	}
	t.Sampler, t.Ratio = env.sampler()
	t.Attributes = env.pairs(envAttribute)
	t.Service = getenv("OTEL_SERVICE_NAME")
	if t.Service == "" {
		t.Service = t.Attributes["service.name"]
	}
	if t.Service == "" {
		t.Service = "holdmetrics"
	}
	if env.err != nil {
		return Telemetry{}, env.err
	}
	return t, nil
}

// otelEnv reads variables, and keeps the first error.
type otelEnv struct {
	getenv Getenv
	err    error
}

func (e *otelEnv) fail(name, format string, args ...any) {
	if e.err == nil {
		e.err = usage.Errorf("%s: %w", name, fmt.Errorf(format, args...))
	}
}

// of returns the value of a variable of one signal, or else of all, and its name.
func (e *otelEnv) of(signal, name string) (value, from string) {
	from = otlpPrefix + signal + "_" + name
	if value = e.getenv(from); value == "" {
		from = otlpPrefix + name
		value = e.getenv(from)
	}
	return value, from
}

func (e *otelEnv) flag(name string) bool {
	switch value := strings.ToLower(e.getenv(name)); value {
	case "", "false":
	case "true":
		return true
	default:
		e.fail(name, "%q is not true or false", value)
	}
	return false
}

func (e *otelEnv) milliseconds(name string, otherwise time.Duration) time.Duration {
	value := e.getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 {
		e.fail(name, "%q is not a number of milliseconds above 0", value)
	}
	return time.Duration(n) * time.Millisecond
}

// signal reads where a signal is sent to. endpoint is that of all signals.
func (e *otelEnv) signal(name, endpoint string) (s Signal) {
	switch exporter := "OTEL_" + name + "_EXPORTER"; e.getenv(exporter) {
	case "", "otlp":
	case "none":
		return s
	default:
		e.fail(exporter, "%q is not otlp or none", e.getenv(exporter))
		return s
	}
	own := otlpPrefix + name + "_ENDPOINT"
	from := Describe(KeyOTLP) + " or " + otlpPrefix + "ENDPOINT"
	alone := e.getenv(own) != ""
	if alone {
		endpoint, from = e.getenv(own), own
	}
	if endpoint == "" {
		return s
	}
	insecure, insecureFrom := e.of(name, "INSECURE")
	plain, err := false, error(nil)
	if insecure != "" {
		if plain, err = strconv.ParseBool(insecure); err != nil {
			e.fail(insecureFrom, "%q is not true or false", insecure)
			return s
		}
	}
	u, err := otlpURL(endpoint, plain)
	if err != nil {
		e.fail(from, "%w", err)
		return s
	}
	protocol, protocolFrom := e.of(name, "PROTOCOL")
	switch protocol {
	case ProtocolGRPC, ProtocolHTTP:
	case "":
		if protocol = ProtocolHTTP; u.Port() == grpcPort {
			protocol = ProtocolGRPC
		}
	default:
		e.fail(protocolFrom, "%q is not %s or %s", protocol, ProtocolGRPC, ProtocolHTTP)
		return s
	}
	if !alone {
		u = u.JoinPath("v1", strings.ToLower(name))
	} else if u.Path == "" {
		u.Path = "/"
	}
	s = Signal{URL: u, Protocol: protocol, Headers: map[string]string{}}
	headers, headersFrom := e.of(name, "HEADERS")
	if headers != "" {
		s.Headers = e.pairs(headersFrom)
	}
	_, timeoutFrom := e.of(name, "TIMEOUT")
	s.Timeout = e.milliseconds(timeoutFrom, defaultOTLPTimeout)
	compression, compressionFrom := e.of(name, "COMPRESSION")
	switch compression {
	case "", "none":
	case "gzip":
		s.Compress = true
	default:
		e.fail(compressionFrom, "%q is not gzip or none", compression)
	}
	s.Authorities = e.file(name, "CERTIFICATE")
	s.Certificate, s.Key = e.file(name, "CLIENT_CERTIFICATE"), e.file(name, "CLIENT_KEY")
	if (s.Certificate == "") != (s.Key == "") {
		_, from := e.of(name, "CLIENT_CERTIFICATE")
		e.fail(from, "a client's certificate and its key (%sCLIENT_KEY) are given together", otlpPrefix)
	}
	return s
}

// file returns the path of a variable, whose file can be read.
func (e *otelEnv) file(signal, name string) string {
	path, from := e.of(signal, name)
	if path == "" {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		e.fail(from, "%w", err)
	}
	return path
}

// pairs reads name=value pairs that are separated by commas. Values are percent-encoded.
// Errors quote no value.
func (e *otelEnv) pairs(name string) map[string]string {
	out := map[string]string{}
	for _, pair := range strings.Split(e.getenv(name), ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || key == "" || err != nil {
			e.fail(name, "is not name=value,name=value with values as in a URL (a comma is %%2C); it is not shown, as it may have a password in it")
			return nil
		}
		out[key] = decoded
	}
	return out
}

// samplers are the names of samplers that OpenTelemetry has.
var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// DefaultSampler is what the standard has for a default.
const DefaultSampler = "parentbased_always_on"

func (e *otelEnv) sampler() (name string, ratio float64) {
	const of, by = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	if name = e.getenv(of); name == "" {
		name = DefaultSampler
	}
	if !slices.Contains(samplers, name) {
		e.fail(of, "%q is not one of %s", name, strings.Join(samplers, ", "))
	}
	ratio = 1
	if text := e.getenv(by); text != "" && strings.HasSuffix(name, "ratio") {
		var err error
		if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			e.fail(by, "%q is not a number from 0 to 1", text)
		}
	}
	return name, ratio
}

// otlpURL reads where a collector is. An address without a scheme means TLS, unless plain
// is set or it is of this machine.
func otlpURL(text string, plain bool) (*url.URL, error) {
	text = strings.TrimSpace(text)
	bare := !scheme.MatchString(text)
	if bare {
		text = "https://" + text
	}
	u, err := readURL(text)
	if err == nil && u.Scheme != "http" && u.Scheme != "https" {
		err = errors.New("it is to begin with http:// or https://")
	}
	if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("it ends with the path")
	}
	if err == nil && u.User != nil {
		err = errors.New("a password belongs into " + otlpPrefix + "HEADERS")
	}
	if err != nil {
		return nil, fmt.Errorf("is not http://HOST:PORT: %w; %s", err, urlHint)
	}
	if bare && (plain || local(u.Hostname())) {
		u.Scheme = "http"
	}
	if u.Port() == "" {
		port := "4318"
		if u.Scheme == "https" {
			port = "443"
		}
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// addHeaders adds the values of the headers that are sent to collectors, which may be
// passwords.
func (s *Secrets) addHeaders(getenv Getenv) {
	for _, signal := range []string{"", "TRACES_", "METRICS_", "LOGS_"} {
		text := getenv(otlpPrefix + signal + "HEADERS")
		if text == "" {
			continue
		}
		s.addText(text)
		for _, pair := range strings.Split(text, ",") {
			_, value, _ := strings.Cut(pair, "=")
			s.addText(strings.TrimSpace(value))
		}
	}
}
