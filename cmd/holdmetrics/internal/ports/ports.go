// Package ports opens the ports of a process and serves them: who can reach them, with
// which certificates, and how many connections they take.
package ports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/internal/service"
	"holdmetrics/internal/tlsfiles"
)

// callGrace is how long calls may finish after a stop was asked for. A stream may go on
// for ever; its client sends again what was not acknowledged.
const callGrace = 3 * time.Second

// Ports are the two that clients of a gateway connect to.
type Ports struct {
	grpc, http  *limitedListener
	certificate *tlsfiles.Files // nil: no TLS
	security    *settings.Security
	log         *zap.Logger

	web     *http.Server
	handler atomic.Pointer[http.Handler] // of the HTTP server
	serving sync.WaitGroup
}

// Open listens at the addresses of the settings, and takes a number of connections at
// each; 0: any number. certificate is that of [Certificate].
func Open(s *settings.Settings, connections int, certificate *tlsfiles.Files, log *zap.Logger) (*Ports, error) {
	g, err := ListenSafely(settings.KeyGRPC, s.GRPCAddress, &s.Security, log)
	if err != nil {
		return nil, err
	}
	h, err := ListenSafely(settings.KeyHTTP, s.HTTPAddress, &s.Security, log)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	p := &Ports{certificate: certificate, security: &s.Security, log: log, grpc: limitGRPC(g, connections), http: limitHTTP(h, connections)}
	if certificate != nil { // what would be sent before the handshake says nothing to anybody
		p.grpc.refuse, p.http.refuse = nil, nil
	}
	return p, nil
}

// Certificate opens the certificate of the servers and reads it again when it changes,
// as a part of a group. It returns nil if the settings name none.
func Certificate(s *settings.Security, group *service.Group, log *zap.Logger) (*tlsfiles.Files, error) {
	if !s.HasTLS() {
		return nil, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Config{Name: "the gRPC and HTTP servers", Cert: s.TLSCert, Key: s.TLSKey, CA: s.TLSClientCA, Logger: log})
	if err != nil {
		return nil, err
	}
	group.Go("the certificate of the servers", files.Run)
	return files, nil
}

// Names returns the names by which clients may reach the HTTP server: the name of the
// machine, and those of the settings.
func Names(s *settings.Settings) []string {
	if own, err := os.Hostname(); err == nil && httpapi.CheckName(own) == nil {
		return append([]string{own}, s.HTTPNames...)
	}
	return s.HTTPNames
}

// GRPC returns the address of the gRPC server.
func (p *Ports) GRPC() net.Addr { return p.grpc.Addr() }

// HTTP returns the address of the HTTP server.
func (p *Ports) HTTP() net.Addr { return p.http.Addr() }

// Banner returns the lines that say where the servers are.
func (p *Ports) Banner() string {
	text := fmt.Sprintf("  gRPC  %s\n  HTTP  %s://%s\n", Shown(p.GRPC()), Scheme(p.certificate), Shown(p.HTTP()))
	for _, server := range []struct {
		name    string
		address net.Addr
	}{{"gRPC", p.GRPC()}, {"HTTP", p.HTTP()}} {
		if lacks := Lacks(server.address, p.security); lacks != "" {
			text += fmt.Sprintf("  INSECURE: the %s server serves everybody who can connect; there is no %s\n", server.name, lacks)
		}
	}
	return text
}

// Scheme returns the scheme of the URLs of an HTTP server with a certificate, or none.
func Scheme(certificate *tlsfiles.Files) string {
	if certificate == nil {
		return "http"
	}
	return "https"
}

// Shown returns an address as a client on this machine would use it.
func Shown(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d (and every other address of this machine)", tcp.Port)
	}
	return a.String()
}

// Close closes the ports, unless a server has done so.
func (p *Ports) Close() error {
	for _, l := range []*limitedListener{p.grpc, p.http} {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// Err returns why a server refuses connections, or nil.
func (p *Ports) Err() error {
	return cmp.Or(p.grpc.err(), p.http.err())
}

// Answer begins to answer at the HTTP port, as a part of a group: the process lives, and
// is starting for this reason.
func (p *Ports) Answer(reason func() error, group *service.Group) {
	p.answer(httpapi.Starting(reason))
	p.web = httpapi.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*p.handler.Load()).ServeHTTP(w, r)
	}), p.log)
	probesBeyondLimit(p.web)
	p.serving.Go(func() {
		if err := Serve(p.web, p.http, p.certificate); !errors.Is(err, http.ErrServerClosed) {
			group.Fail(fmt.Errorf("the HTTP server failed: %w", err))
		}
	})
	group.Add("the HTTP server", service.Func(func() error {
		err := p.web.Close()
		p.serving.Wait()
		return err
	}))
}

func (p *Ports) answer(h http.Handler) { p.handler.Store(&h) }

// Serve serves HTTP at a listener until the server is closed; over TLS alone, by HTTP/2
// and HTTP/1.1, if there is a certificate.
func Serve(web *http.Server, l net.Listener, certificate *tlsfiles.Files) error {
	if certificate == nil {
		return web.Serve(l)
	}
	web.TLSConfig = certificate.Server("h2", "http/1.1")
	return web.ServeTLS(l, "", "")
}

// Serve serves a gateway at both ports, as parts of a group. [Ports.Answer] must have
// been called. When the parts stop, new calls are refused at once, and running calls may
// finish within callGrace.
func (p *Ports) Serve(gate *gateway.Gateway, group *service.Group) {
	options := gate.ServerOptions()
	if p.certificate != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(p.certificate.Server("h2"))))
	}
	rpc := grpc.NewServer(options...)
	gate.RegisterGRPC(rpc)
	p.answer(gate.Handler())

	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(p.grpc); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			group.Fail(fmt.Errorf("the gRPC server failed: %w", err))
		}
	})
	group.Add("the gRPC and HTTP servers", func(ctx context.Context) error {
		gate.Drain()
		serving.Go(func() {
			late := time.AfterFunc(callGrace, rpc.Stop)
			defer late.Stop()
			rpc.GracefulStop()
		})
		graceful, cancel := context.WithTimeout(ctx, callGrace)
		defer cancel()
		if err := p.web.Shutdown(graceful); err != nil {
			_ = p.web.Close() // the grace is over; that is no failure
		}
		p.serving.Wait()
		serving.Wait()
		return gate.Close(ctx)
	})
}
