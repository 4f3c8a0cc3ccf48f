package settings

import (
	"fmt"
	"testing"
)

func TestTokenLabels(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":              "{[] 0}",
		"0":             "{[] 0}",
		"100":           "{[] 100}",
		"100,":          "{[100] 0}",
		"GOLD":          "{[GOLD] 0}",
		" GOLD, TIN ,,": "{[GOLD TIN] 0}",
		"-1":            "-1 is not a number of tokens from 0 to 10000; write -1, with a comma, for a token of that name",
		"10001":         "10001 is not a number of tokens from 0 to 10000; write 10001, with a comma, for a token of that name",
	} {
		l, err := parseTokenLabels(text)
		got := fmt.Sprint(l)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// PROMETHEUS_PORT opens a port of its own on serve and gateway too, which only this
// machine reaches unless an address says otherwise.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		role string
		args []string
		want string
	}{
		{nil, "serve", nil, ""},
		{nil, "gateway", nil, ""},
		{nil, "worker", nil, "127.0.0.1:9090"},
		{map[string]string{"PROMETHEUS_PORT": "9100"}, "serve", nil, "127.0.0.1:9100"},
		{map[string]string{"PROMETHEUS_PORT": "9100"}, "gateway", nil, "127.0.0.1:9100"},
		{map[string]string{"PROMETHEUS_PORT": "9100"}, "worker", nil, "127.0.0.1:9100"},
		{map[string]string{"METRICS_ADDRESS": "0.0.0.0:9101"}, "serve", nil, "0.0.0.0:9101"},
		{map[string]string{"PROMETHEUS_PORT": "9100"}, "serve", []string{"--metrics-address", "[::1]:0"}, "[::1]:0"},
		{map[string]string{"PROMETHEUS_PORT": "9100"}, "serve", []string{"--metrics-address", ""}, ""},
	} {
		s, err := Read(commandOf(t, c.env, c.role, c.args...))
		if err != nil || s.Metrics.Address != c.want {
			t.Errorf("%s %v %v: %q, %v, want %q", c.role, c.env, c.args, s.Metrics.Address, err, c.want)
		}
	}
	if _, err := Read(commandOf(t, nil, "serve", "--metrics-address", "9100")); err == nil {
		t.Error("a port alone is taken for an address")
	}
}
