package app

import (
	"errors"
	"net/http"
	"net/http/pprof"
	"time"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/service"
)

// startProfiles serves the profiles of net/http/pprof, if the settings ask for them.
func (p *process) startProfiles() error {
	if p.settings.PprofAddress == "" {
		return nil
	}
	listener, err := listen(settings.KeyPprof, p.settings.PprofAddress)
	if err != nil {
		return err
	}
	p.pprofAddr = listener.Addr()
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	p.group.Add("the server of profiles", service.Func(func() error {
		err := web.Close() // a profile that is being taken is of no use any more
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}))
	return nil
}
