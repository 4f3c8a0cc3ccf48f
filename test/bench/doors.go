package main

import (
	"context"
	"errors"
	"net"
	"net/http"

	"google.golang.org/grpc"

	"holdmetrics/gateway"
	"holdmetrics/ingest"
)

// openDoors puts the gateway before the log. Without a worker nothing is ever
// applied, and no read waits for it.
func (p *plant) openDoors(ctx context.Context) error {
	view, err := p.snapshots.Watch(ctx)
	if err != nil {
		return err
	}
	p.onStop(view.Close)
	producer := ingest.NewProducer(p.log, ingest.ProducerOptions{})
	p.onStop(func() error { return producer.Close(context.Background()) })
	applied := func(context.Context, int, uint64) error { return nil }
	if p.worker != nil {
		applied = p.worker.WaitApplied
	}
	gate, err := gateway.New(gateway.Config{
		Producer: producer, Log: p.log,
		Backend: gateway.Backend{
			Reader: p.store, Snapshots: view,
			WaitApplied: applied,
			Ready:       func(context.Context) error { return nil },
		},
	})
	if err != nil {
		return err
	}
	return p.listen(gate)
}

func (p *plant) listen(gate *gateway.Gateway) error {
	grpcListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	httpListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, grpcListener.Close())
	}
	p.addresses.GRPC, p.addresses.HTTP = grpcListener.Addr().String(), httpListener.Addr().String()
	grpcServer := grpc.NewServer(gate.ServerOptions()...)
	gate.RegisterGRPC(grpcServer)
	httpServer := gate.HTTPServer()
	ended := make(chan error, 2)
	go func() { ended <- grpcServer.Serve(grpcListener) }()
	go func() { ended <- httpServer.Serve(httpListener) }()
	p.onStop(func() error {
		grpcServer.Stop()
		err := httpServer.Close()
		for range cap(ended) {
			if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
		}
		gate.Close()
		return err
	})
	return nil
}
