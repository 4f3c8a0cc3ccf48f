package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
)

// doors are the two ports that clients come in by.
type doors struct {
	grpc, http net.Listener
}

func listenDoors(s *settings.Settings) (*doors, error) {
	g, err := listen(settings.KeyGRPC, s.GRPCAddress)
	if err != nil {
		return nil, err
	}
	h, err := listen(settings.KeyHTTP, s.HTTPAddress)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return &doors{grpc: g, http: h}, nil
}

// close closes the ports, if no server has done so yet.
func (d *doors) close() error {
	for _, l := range []net.Listener{d.grpc, d.http} {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// open serves a gateway at both ports, tells failed when a door breaks, and
// gives what closes them: new calls are refused at once, those that run may
// finish within doorGrace.
func (d *doors) open(gate *gateway.Gateway, failed chan<- error) (shut func() error) {
	rpc := grpc.NewServer(gate.ServerOptions()...)
	gate.RegisterGRPC(rpc)
	web := gate.HTTPServer()

	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(d.grpc); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			failed <- fmt.Errorf("the gRPC door broke: %w", err)
		}
	})
	serving.Go(func() {
		if err := web.Serve(d.http); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("the HTTP door broke: %w", err)
		}
	})
	return func() error {
		gate.Drain()
		serving.Go(func() {
			late := time.AfterFunc(doorGrace, rpc.Stop)
			defer late.Stop()
			rpc.GracefulStop()
		})
		ctx, cancel := context.WithTimeout(context.Background(), doorGrace)
		defer cancel()
		if err := web.Shutdown(ctx); err != nil {
			_ = web.Close() // the grace is over; that is no failure
		}
		serving.Wait()
		gate.Close()
		return nil
	}
}
