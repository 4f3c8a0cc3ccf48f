package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/internal/service"
)

// callGrace is how long calls may finish after a stop was asked for. A stream may go on
// for ever; its client sends again what was not acknowledged.
const callGrace = 3 * time.Second

// ports are the two that clients connect to.
type ports struct {
	grpc, http net.Listener
	limits     [2]*limitedListener // of both
}

// openPorts listens at the addresses of the settings.
func openPorts(s *settings.Settings) (*ports, error) {
	g, err := listen(settings.KeyGRPC, s.GRPCAddress)
	if err != nil {
		return nil, err
	}
	h, err := listen(settings.KeyHTTP, s.HTTPAddress)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return &ports{grpc: g, http: h}, nil
}

// close closes the ports, unless a server has done so.
func (p *ports) close() error {
	for _, l := range []net.Listener{p.grpc, p.http} {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// limit gives each server its share of the connections. It must be called before serve,
// and before err.
func (p *ports) limit(budget fileBudget) {
	p.limits = [2]*limitedListener{limitGRPC(p.grpc, budget.clients), limitHTTP(p.http, budget.clients)}
}

// ownNames are those by which clients may reach the HTTP server: the name of the machine,
// and those of the settings.
func ownNames(s *settings.Settings) []string {
	if own, err := os.Hostname(); err == nil && httpapi.CheckName(own) == nil {
		return append([]string{own}, s.HTTPNames...)
	}
	return s.HTTPNames
}

// err returns why a server refuses connections, or nil.
func (p *ports) err() error {
	return cmp.Or(p.limits[0].err(), p.limits[1].err())
}

// serve serves a gateway at both ports, as parts of a group. When they stop, new calls
// are refused at once, and running calls may finish within callGrace.
func (p *ports) serve(gate *gateway.Gateway, group *service.Group) {
	rpc := grpc.NewServer(gate.ServerOptions()...)
	gate.RegisterGRPC(rpc)
	web := gate.HTTPServer()
	probesBeyondLimit(web)

	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(p.limits[0]); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			group.Fail(fmt.Errorf("the gRPC server failed: %w", err))
		}
	})
	serving.Go(func() {
		if err := web.Serve(p.limits[1]); !errors.Is(err, http.ErrServerClosed) {
			group.Fail(fmt.Errorf("the HTTP server failed: %w", err))
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
		if err := web.Shutdown(graceful); err != nil {
			_ = web.Close() // the grace is over; that is no failure
		}
		serving.Wait()
		return gate.Close(ctx)
	})
}
