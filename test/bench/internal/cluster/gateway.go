package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"

	"google.golang.org/grpc"

	"holdmetrics/gateway"
	"holdmetrics/ingest"
	"holdmetrics/internal/service"
)

// openGateway starts the gateway. Without a worker nothing is ever applied, and no
// read waits for it.
func (c *Cluster) openGateway(ctx context.Context) error {
	view, err := c.Snapshots.WatchFed(ctx)
	if err != nil {
		return err
	}
	c.parts.Add("the snapshot view", service.Func(view.Close))
	producer := ingest.NewProducer(c.Log, ingest.ProducerOptions{})
	c.parts.Add("the producer", producer.Close)
	applied := func(context.Context, int, uint64) error { return nil }
	if c.Worker != nil {
		applied = c.Worker.WaitApplied
	}
	gate, err := gateway.New(gateway.Config{
		Producer: producer, Log: c.Log,
		Backend: gateway.Backend{
			Reader: c.store, Snapshots: view,
			WaitApplied: applied,
			Ready:       func(context.Context) error { return nil },
		},
	})
	if err != nil {
		return err
	}
	return c.listen(gate)
}

func (c *Cluster) listen(gate *gateway.Gateway) error {
	grpcListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	httpListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, grpcListener.Close())
	}
	c.Addresses.GRPC, c.Addresses.HTTP = grpcListener.Addr().String(), httpListener.Addr().String()
	grpcServer := grpc.NewServer(gate.ServerOptions()...)
	gate.RegisterGRPC(grpcServer)
	httpServer := gate.HTTPServer()
	ended := make(chan error, 2)
	go func() { ended <- grpcServer.Serve(grpcListener) }()
	go func() { ended <- httpServer.Serve(httpListener) }()
	c.parts.Add("the gateway", func(ctx context.Context) error {
		grpcServer.Stop()
		err := httpServer.Close()
		for range cap(ended) {
			if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
		}
		return errors.Join(err, gate.Close(ctx))
	})
	return nil
}
