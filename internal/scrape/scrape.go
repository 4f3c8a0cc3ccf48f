// Package scrape serves metrics to Prometheus.
package scrape

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

const (
	// atOnce is how many scrapes are answered at once; others get 503. Each gathers all
	// metrics, so that a crowd of them would be felt.
	atOnce = 8
	within = 30 * time.Second
)

// Handler answers scrapes of g: in OpenMetrics with exemplars if the client asks for it,
// else in the text format of Prometheus. A collector that fails does not hide the others.
func Handler(g prometheus.Gatherer, log *zap.Logger) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog:            zap.NewStdLog(log),
		ErrorHandling:       promhttp.ContinueOnError,
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: atOnce,
		Timeout:             within,
	})
}
