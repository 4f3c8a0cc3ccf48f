package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/cluster"
	"holdmetrics/test/bench/internal/load"
)

// serverInput selects what a server child runs: a broker with the log, and the gateway
// if Gateway is set. There is no worker, so the rows about endpoints measure those
// alone. The sustained row measures them with a worker on the same cores.
type serverInput struct {
	Dir     string
	Sync    bool
	Gateway bool
}

func serverRole(ctx context.Context, raw json.RawMessage, answer func(any) error) (err error) {
	in, err := child.Input[serverInput](raw)
	if err != nil {
		return err
	}
	b, err := cluster.StartBroker(filepath.Join(in.Dir, "nats"), in.Sync)
	if err != nil {
		return err
	}
	defer b.Close()
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: b, Gateway: in.Gateway})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := answer(p.Addresses); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// startServer starts a server child on a new directory.
func (b *bench) startServer(ctx context.Context, sync, withGateway bool) (*child.Process, load.Addresses, error) {
	dir, err := b.tempDir("server")
	if err != nil {
		return nil, load.Addresses{}, err
	}
	return b.startServerOn(ctx, dir, sync, withGateway)
}

func (b *bench) startServerOn(ctx context.Context, dir string, sync, withGateway bool) (*child.Process, load.Addresses, error) {
	var at load.Addresses
	p, err := b.startChild(ctx, "server", 0, serverInput{Dir: dir, Sync: sync, Gateway: withGateway}, &at)
	return p, at, err
}
