package main

import (
	"context"

	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// The endpoints run in one process with the broker, without a worker behind the log.
// Their peers run alone in their place.
const (
	bulkStreams      = 2
	bulkBatch        = 4096
	broadcastStreams = 4
	recordCallers    = 64
	holdsConnections = 4
	holdsBatch       = 16 << 10
)

// bulkRow is BroadcastBatch: batches in, one ack a batch when the log has all of
// it. Not measured: making Go messages of events on the client's side (the load
// encodes bytes directly).
type bulkRow struct{ often }

func (bulkRow) name() string  { return "bulk" }
func (bulkRow) about() string { return "bulk RPC: gateway to durable ack" }

func (bulkRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	peer, err := b.logIngest(ctx)
	if err != nil {
		return nil, err
	}
	r, err := b.bulk(ctx)
	if err != nil {
		return nil, err
	}
	return []report.Line{{Name: "bulk RPC", Value: r.PerSecond, Unit: "events/s", Fsync: true,
		Against: "log ingest", AgainstValue: peer, Aim: report.Aim{report.RatioAtLeast(0.6)}}}, nil
}

func (b *bench) bulk(ctx context.Context) (load.Rate, error) {
	return b.load(ctx, loading{role: "batch", sync: true, gateway: true, workers: bulkStreams, batch: bulkBatch})
}

// broadcastRow is Broadcast: one message an event, one ack each, durable. The
// echo answers with the message itself, which is longer than an ack.
type broadcastRow struct{ often }

func (broadcastRow) name() string  { return "broadcast" }
func (broadcastRow) about() string { return "Broadcast: one message an event, one ack each, durable" }

func (broadcastRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	return b.againstEcho(ctx, "Broadcast", "bare gRPC echo stream", "broadcast", broadcastStreams, 0.6)
}

// recordRow is Record: unary calls of 64 callers on one connection, durable.
type recordRow struct{ often }

func (recordRow) name() string  { return "record" }
func (recordRow) about() string { return "Record: unary, 64 callers, durable" }

func (recordRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	return b.againstEcho(ctx, "Record, 64 callers", "bare unary echo", "record", recordCallers, 0.5)
}

func (b *bench) againstEcho(ctx context.Context, name, against, role string, workers int, times float64) ([]report.Line, error) {
	echo, err := b.load(ctx, loading{role: role, echo: true, workers: workers})
	if err != nil {
		return nil, err
	}
	r, err := b.load(ctx, loading{role: role, sync: true, gateway: true, workers: workers})
	if err != nil {
		return nil, err
	}
	return []report.Line{{Name: name, Value: r.PerSecond, Unit: "events/s", Fsync: true,
		Against: against, AgainstValue: echo.PerSecond, Aim: report.Aim{report.RatioAtLeast(times)}}}, nil
}

// holdsRow is POST /holds: bodies of NDJSON, the answer when the log has all of
// it. The load writes the JSON as it goes.
type holdsRow struct{ often }

func (holdsRow) name() string  { return "http" }
func (holdsRow) about() string { return "HTTP bulk: NDJSON to POST /holds, to durable ack" }

func (holdsRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	peer, err := b.bulk(ctx)
	if err != nil {
		return nil, err
	}
	r, err := b.load(ctx, loading{role: "holds", sync: true, gateway: true, workers: holdsConnections, batch: holdsBatch})
	if err != nil {
		return nil, err
	}
	return []report.Line{{Name: "HTTP bulk NDJSON", Value: r.PerSecond, Unit: "events/s", Fsync: true,
		Against: "bulk RPC", AgainstValue: peer.PerSecond, Aim: report.Aim{report.RatioAtLeast(0.3)}}}, nil
}
