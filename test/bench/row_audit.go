package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

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
	peer, err := b.intake(ctx)
	if err != nil {
		return nil, err
	}
	value, err := b.intake(ctx, "SIGNING_KEY="+key)
	if err != nil {
		return nil, err
	}
	return []report.Line{{Name: "serve, bulk RPC, checkpoints", Value: value, Unit: "events/s", Fsync: true,
		Against: "without a signing key", AgainstValue: peer, Aim: report.Aim{report.RatioAtLeast(0.97)}}}, nil
}

// zeros is the randomness of a key that proves nothing.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// intake is what serve takes by BroadcastBatch.
func (b *bench) intake(ctx context.Context, env ...string) (perSecond float64, err error) {
	dir, err := os.MkdirTemp(b.dir, "chain")
	if err != nil {
		return 0, err
	}
	s, err := b.startServe(ctx, dir, env...)
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopped := s.stop(); err == nil {
			err = stopped
		}
	}()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	var r load.Rate
	warm, count := b.window()
	err = b.call(ctx, "batch", 0, load.Input{At: s.at, Window: load.Window{Warm: warm, Count: count},
		Holders: load.Holders, Workers: bulkStreams, Batch: bulkBatch}, &r)
	return r.PerSecond, err
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
