package main

import (
	"context"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// ingestRow is what the Go producer gets into the log over TCP, against one
// event a message in the same log. The broker has nobody reading; the log's
// stream has its real settings. Not measured: the gateway, and any consumer.
type ingestRow struct{ often }

func (ingestRow) name() string  { return "ingest" }
func (ingestRow) about() string { return "log ingest: Go producer, frames, fsync before the ack" }

func (ingestRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	value, err := b.logIngest(ctx)
	if err != nil {
		return nil, err
	}
	var lines []report.Line
	for _, peer := range []struct {
		sync    bool
		against string
		times   float64
	}{
		{true, "one event a message, async, fsync", 100},
		{false, "one event a message, async, no fsync", 5},
	} {
		r, err := b.load(ctx, loading{role: "publish", sync: peer.sync, workers: 2})
		if err != nil {
			return nil, err
		}
		lines = append(lines, report.Line{Name: "log ingest", Value: value, Unit: "events/s", Fsync: true,
			Against: peer.against, AgainstValue: r.PerSecond, Aim: report.Aim{report.RatioAtLeast(peer.times)}})
	}
	return lines, nil
}

// logIngest is the ceiling of several rows: frames into a log, with fsync.
func (b *bench) logIngest(ctx context.Context) (float64, error) {
	r, err := b.load(ctx, loading{role: "produce", sync: true, workers: 2, batch: load.LogBatch})
	return r.PerSecond, err
}

// loading is a load against a server that is started for it.
type loading struct {
	role           string
	sync           bool
	gateway        bool // a gateway before the log
	echo           bool // the bare gRPC server instead
	workers, batch int
}

// load starts a server on an empty directory, runs a load against it, and stops it.
func (b *bench) load(ctx context.Context, l loading) (r load.Rate, err error) {
	var server *child.Process
	var at load.Addresses
	if l.echo {
		server, at, err = b.startEcho(ctx)
	} else {
		server, at, err = b.startServer(ctx, l.sync, l.gateway)
	}
	if err != nil {
		return r, err
	}
	defer child.StopAll(&err, server)
	warm, count := b.window()
	err = b.call(ctx, l.role, 0, load.Input{At: at, Window: load.Window{Warm: warm, Count: count},
		Holders: load.Holders, Workers: l.workers, Batch: l.batch, Echo: l.echo}, &r)
	return r, err
}
