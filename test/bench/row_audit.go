package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdmetrics/ingest/proof"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// chainRow is what the Merkle tree of the log costs the intake of the real program: the
// same load with and without a signing key.
type chainRow struct{ often }

func (chainRow) name() string  { return "chain" }
func (chainRow) about() string { return "intake of serve with signed checkpoints" }

func (chainRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	key := filepath.Join(b.dir, "signing.key")
	secret, _, err := proof.GenerateKey(zeros{}, "bench")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		return nil, err
	}
	// In the order A B B A, so that a machine that becomes slower or faster meanwhile favours
	// neither.
	signing := "SIGNING_KEY=" + key
	var with, without intake
	for _, env := range [][]string{nil, {signing}, {signing}, nil} {
		of := &without
		if env != nil {
			of = &with
		}
		if err := b.intake(ctx, of, env...); err != nil {
			return nil, err
		}
	}
	return []report.Line{{Name: "serve, bulk RPC, checkpoints", Value: with.rate(), Unit: "events/s", Fsync: true,
		Against: "without a signing key", AgainstValue: without.rate(), Aim: report.Aim{report.RatioAtLeast(0.97)},
		Note: fmt.Sprintf("%.2f and %.2f µs of the processor an event", with.cost(), without.cost())}}, nil
}

// intake is what several runs of serve took.
type intake struct {
	perSecond float64       // sum of the runs
	events    float64       // about
	processor time.Duration // of serve
	runs      int
}

func (i *intake) rate() float64 { return i.perSecond / float64(i.runs) }

// cost is in microseconds of the processor an event.
func (i *intake) cost() float64 { return float64(i.processor.Microseconds()) / i.events }

// zeros is the randomness of a key that proves nothing.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// intake adds what serve takes by BroadcastBatch.
func (b *bench) intake(ctx context.Context, of *intake, env ...string) (err error) {
	dir, err := os.MkdirTemp(b.dir, "chain")
	if err != nil {
		return err
	}
	s, err := b.startServe(ctx, dir, env...)
	if err != nil {
		return err
	}
	warm, count := b.window()
	var r load.Rate
	defer func() {
		if stopped := s.stop(); err == nil {
			err = stopped
		}
		used := s.program.cmd.ProcessState
		of.runs, of.perSecond = of.runs+1, of.perSecond+r.PerSecond
		of.events += r.PerSecond * (warm + count).Seconds()
		of.processor += used.UserTime() + used.SystemTime()
	}()
	if err := s.ready(ctx); err != nil {
		return err
	}
	return b.call(ctx, "batch", 0, load.Input{At: s.at, Window: load.Window{Warm: warm, Count: count},
		Holders: load.Holders, Workers: bulkStreams, Batch: bulkBatch}, &r)
}

// auditRow is the copy in immudb against immudb's own client, which writes the same keys
// in transactions of the same size and verifies each. It runs in the module audit.
type auditRow struct{ often }

func (auditRow) name() string  { return "audit" }
func (auditRow) about() string { return "audit follow: the log into immudb, verified" }

func (auditRow) run(ctx context.Context, _ *bench) ([]report.Line, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "holdmetrics").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./bench")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "audit")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("audit/bench: %w", err)
	}
	var r struct{ Follow, Peer float64 }
	if err := json.Unmarshal(out[max(0, strings.LastIndex(string(out), "{")):], &r); err != nil {
		return nil, fmt.Errorf("audit/bench: %w", err)
	}
	return []report.Line{{Name: "audit follow", Value: r.Follow, Unit: "keys/s", Against: "immudb's client, SetAll and VerifiedTxByID",
		AgainstValue: r.Peer, Aim: report.Aim{report.RatioAtLeast(0.8)}}}, nil
}
