package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"holdmetrics/projection/embedded"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/cluster"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// memoryRow is what a hold takes in memory: by how much the resident set of a
// worker's process grows while it applies 5,000,000 ended holds of 1,000,000
// holders (one token each) and keeps all of them cached, after the collector ran
// and gave back what is free. Names of holders, maps, figures and the store's own
// memory (block cache and memtables, 8 MiB each) are in it. The broker is another
// process; no snapshots are published. Not measured: the room that the collector
// takes beside what is live, which GOGC decides; the note has the peak.
type memoryRow struct{ once }

func (memoryRow) name() string { return "memory" }
func (memoryRow) about() string {
	return "memory: resident bytes a hold, 1,000,000 holders x 5 holds, all cached"
}

const (
	holdsPerHolder = 5
	plainHoldBytes = 48
)

// memoryInput is a log to be applied.
type memoryInput struct {
	NATS   load.Broker
	Dir    string
	Events int
}

// memoryOutput is in bytes.
type memoryOutput struct{ Before, After, Peak, Estimate int }

func (memoryRow) run(ctx context.Context, b *bench) (_ []report.Line, err error) {
	holders := b.size(1_000_000)
	in := memoryInput{Events: holdsPerHolder * holders}
	if in.Dir, err = b.tempDir("memory"); err != nil {
		return nil, err
	}
	server, at, err := b.startServer(ctx, false, false)
	if err != nil {
		return nil, err
	}
	defer child.StopAll(&err, server)
	in.NATS = at.NATS
	if err := b.call(ctx, "fill", 0, load.FillInput{NATS: at.NATS, Holders: holders, Events: in.Events}, &struct{}{}); err != nil {
		return nil, err
	}
	var out memoryOutput
	if err := b.call(ctx, "memory", 0, in, &out); err != nil {
		return nil, err
	}
	return []report.Line{{Name: "memory", Value: float64(out.After-out.Before) / float64(in.Events), Unit: "bytes/hold",
		Against: "start, end, weight", AgainstValue: plainHoldBytes, Aim: report.Aim{report.RatioAtMost(4)},
		Note: fmt.Sprintf("resident %d MB, before %d MB, peak %d MB; the cache's own estimate %d MB",
			out.After>>20, out.Before>>20, out.Peak>>20, out.Estimate>>20)}}, nil
}

func memoryRole(ctx context.Context, raw json.RawMessage, answer func(any) error) (err error) {
	in, err := child.Input[memoryInput](raw)
	if err != nil {
		return err
	}
	conn, js, err := load.DialNATS(in.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: &cluster.Broker{Conn: conn, JetStream: js}, Worker: true, NoBucket: true,
		CacheBytes: 1 << 40, Store: embedded.Options{CacheBytes: 8 << 20, MemTableBytes: 8 << 20}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	var out memoryOutput
	debug.FreeOSMemory() // runs the collector first
	if out.Before, err = processMemory("VmRSS:"); err != nil {
		return err
	}
	p.Run()
	if err := p.CaughtUp(ctx); err != nil {
		return err
	}
	debug.FreeOSMemory()
	if out.After, err = processMemory("VmRSS:"); err != nil {
		return err
	}
	if out.Peak, err = processMemory("VmHWM:"); err != nil {
		return err
	}
	for _, s := range p.Worker.Status() {
		out.Estimate += s.CacheBytes
	}
	if got := p.Events(); got != uint64(in.Events) {
		return fmt.Errorf("%d events were applied, %d are in the log", got, in.Events)
	}
	return answer(out)
}

// processMemory reads a figure of this process, in bytes, as Linux tells it.
func processMemory(field string) (int, error) { return memoryOf(os.Getpid(), field) }

// memoryOf reads a figure of a process of this machine.
func memoryOf(pid int, field string) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == field {
			kib, err := strconv.Atoi(string(f[1]))
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}
