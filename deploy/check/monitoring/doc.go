// Package monitoring tests the rules and alerts of Prometheus and the dashboards of
// Grafana: by Prometheus' own packages, and against docs/metrics.md, which a test of
// cmd/holdmetrics holds to what the processes export.
package monitoring
