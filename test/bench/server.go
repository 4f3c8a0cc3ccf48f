package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
)

// serverInput says what a server child runs: a broker with the log, and with
// Doors the gateway before it, without a worker behind the log. So rows about
// doors measure doors; what the worker takes away on the same cores is the matter
// of the sustained row.
type serverInput struct {
	Dir   string
	Sync  bool
	Doors bool
}

// addresses are where a server listens.
type addresses struct{ NATS, GRPC, HTTP string }

func serverRole(ctx context.Context, raw json.RawMessage, answer func(any) error) (err error) {
	in, err := input[serverInput](raw)
	if err != nil {
		return err
	}
	b, err := startBroker(filepath.Join(in.Dir, "nats"), in.Sync)
	if err != nil {
		return err
	}
	defer b.close()
	p, err := startPlant(ctx, plantConfig{dir: in.Dir, broker: b, doors: in.Doors})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := answer(p.addresses); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// startServer starts a server child on a new directory.
func (b *bench) startServer(ctx context.Context, sync, withDoors bool) (*process, addresses, error) {
	dir, err := b.tempDir("server")
	if err != nil {
		return nil, addresses{}, err
	}
	return b.startServerOn(ctx, dir, sync, withDoors)
}

func (b *bench) startServerOn(ctx context.Context, dir string, sync, withDoors bool) (*process, addresses, error) {
	var at addresses
	p, err := b.startChild(ctx, "server", 0, serverInput{Dir: dir, Sync: sync, Doors: withDoors}, &at)
	return p, at, err
}
