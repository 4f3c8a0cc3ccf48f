package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"holdmetrics/cmd/holdmetrics/internal/meters"
	"holdmetrics/cmd/holdmetrics/internal/ports"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/scrape"
	"holdmetrics/internal/service"
	"holdmetrics/internal/tlsfiles"
)

// metricsConnections is how many connections the port of the metrics takes.
const metricsConnections = 64

// startMetrics serves the metrics at a port of their own, if the settings ask for one. It
// does so from the beginning of a start, over TLS if the servers do.
func (p *process) startMetrics() error {
	if p.settings.Metrics.Address == "" {
		return nil
	}
	listener, err := ports.ListenSafely(settings.KeyMetrics, p.settings.Metrics.Address, &p.settings.Security, p.log)
	if err != nil {
		return err
	}
	p.meterAddr = listener.Addr()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrape.Handler(p.Registry, p.log))
	p.serveAside("the server of metrics", ports.Limit(listener, metricsConnections), p.certificate, mux)
	return nil
}

// measureCertificates measures when the certificates of the process run out.
func (p *process) measureCertificates(files ...*tlsfiles.Files) {
	p.meters.Certificates(func() (all []meters.Certificate) {
		for _, f := range files {
			if f != nil {
				s := f.Status()
				all = append(all, meters.Certificate{Name: f.Name(), Expires: s.Expires, Err: s.Err})
			}
		}
		return all
	})
}

// metricsLine is the line of the banner about the metrics, if they have a port of their own.
func (p *process) metricsLine() string {
	if p.meterAddr == nil {
		return ""
	}
	return fmt.Sprintf("  metrics %s://%s\n", ports.Scheme(p.certificate), ports.Shown(p.meterAddr))
}

// startProfiles serves the profiles of net/http/pprof, if the settings ask for them.
func (p *process) startProfiles() error {
	if p.settings.PprofAddress == "" {
		return nil
	}
	listener, err := ports.Listen(settings.KeyPprof, p.settings.PprofAddress)
	if err != nil {
		return err
	}
	p.pprofAddr = listener.Addr()
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	p.serveAside("the server of profiles", listener, nil, mux)
	return nil
}

// serveAside serves at a port that is for operators, as a part of the process.
func (p *process) serveAside(name string, listener net.Listener, certificate *tlsfiles.Files, handler http.Handler) {
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- ports.Serve(web, listener, certificate) }()
	p.group.Add(name, service.Func(func() error {
		err := web.Close() // an answer under way is of no use any more
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}))
}
