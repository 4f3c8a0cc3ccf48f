package settings

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdmetrics/gateway"
)

// The keys of the settings of the metrics.
const (
	KeyMetrics        = "metrics-address"
	KeyMetricsByToken = "metrics-by-token"
)

// DefaultMetricsAddress is where a worker serves its metrics.
const DefaultMetricsAddress = "127.0.0.1:9090"

// mostTokenLabels bounds the series of hold_events_total: a monitoring system keeps each
// of them for as long as it keeps anything.
const mostTokenLabels = 10_000

// Metrics are the settings of the metrics.
type Metrics struct {
	Address string // of a port of their own; empty: none
	Tokens  gateway.TokenLabels
}

// gatewayMetricsFlags adds the flags for the metrics of what has the gRPC and HTTP servers.
func gatewayMetricsFlags(f *pflag.FlagSet) {
	f.String(KeyMetrics, "", "`address` of a port for /metrics alone, beside that of HTTP; port 0 takes a free one (METRICS_ADDRESS; PROMETHEUS_PORT on 127.0.0.1; default: none)")
	f.String(KeyMetricsByToken, "", "`tokens` that hold_events_total counts by themselves: names with commas, or a number, which takes the tokens that come first; the others count together (METRICS_BY_TOKEN; default: none)")
}

// parse reads these settings, if there are flags for them.
func (m *Metrics) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) (err error) {
	if has(KeyMetrics) {
		m.Address = k.String(KeyMetrics)
		if m.Address != "" {
			if _, _, err := net.SplitHostPort(m.Address); err != nil {
				return bad(KeyMetrics, fmt.Errorf("%q is not HOST:PORT", m.Address))
			}
		}
	}
	if has(KeyMetricsByToken) {
		if m.Tokens, err = parseTokenLabels(k.String(KeyMetricsByToken)); err != nil {
			return bad(KeyMetricsByToken, err)
		}
	}
	return nil
}

// parseTokenLabels reads names with commas, or a number.
func parseTokenLabels(text string) (l gateway.TokenLabels, err error) {
	text = strings.TrimSpace(text)
	if n, err := strconv.Atoi(text); err == nil {
		if n < 0 || n > mostTokenLabels {
			return l, fmt.Errorf("%d is not a number of tokens from 0 to %d; write %d, with a comma, for a token of that name", n, mostTokenLabels, n)
		}
		l.Most = n
		return l, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			l.Names = append(l.Names, name)
		}
	}
	if len(l.Names) > mostTokenLabels {
		return l, fmt.Errorf("%d tokens are more than %d", len(l.Names), mostTokenLabels)
	}
	return l, nil
}
