package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/cluster"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// replayRow is a rebuild from nothing: a log of 10,000,000 events of 200,000
// holders, the worker with an empty store and an empty bucket, until store and
// snapshots have all of it. Broker, worker and store are one process, as in
// serve, and the broker syncs. Against reading the same frames in one process with the
// broker and looking at none: by one ordered consumer, and by one for each
// partition, of which the faster counts. Neither start of the broker is
// measured. The log was just written, so both read it from the page cache. Where
// the worker is not done in replayPatience, what it has applied counts, and the
// note says so.
type replayRow struct{ once }

func (replayRow) name() string { return "replay" }
func (replayRow) about() string {
	return "replay: log to state, store and snapshots, 10,000,000 events of 200,000 holders"
}

// replayInput is a log that is there, and how many events it has.
type replayInput struct {
	Dir    string
	Events int
}

// replayPatience is when a replay is given up; what was applied in it counts then.
const replayPatience = 90 * time.Second

// replayOutput is how fast it went, and what is to be said of it.
type replayOutput struct {
	PerSecond float64
	Note      string
}

func (replayRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	in := replayInput{Events: b.size(10_000_000)}
	var err error
	if in.Dir, err = b.tempDir("replay"); err != nil {
		return nil, err
	}
	if err := b.fillLog(ctx, in.Dir, b.size(200_000), in.Events); err != nil {
		return nil, err
	}
	var peer float64
	var out replayOutput
	if err := b.call(ctx, "read", 0, in, &peer); err != nil {
		return nil, err
	}
	b.log("replay: the reader alone: %s events/s", report.Number(peer))
	if err := b.call(ctx, "replay", 0, in, &out); err != nil {
		return nil, err
	}
	return []report.Line{{Name: "replay", Value: out.PerSecond, Unit: "events/s", Fsync: true,
		Against: "bare ordered consumer", AgainstValue: peer, Aim: report.Aim{report.RatioAtLeast(0.3), report.AtLeast(1e6)}, Note: out.Note, Void: out.Note != ""}}, nil
}

// fillLog makes a log in a directory.
func (b *bench) fillLog(ctx context.Context, dir string, holders, events int) (err error) {
	server, at, err := b.startServerOn(ctx, dir, true, false)
	if err != nil {
		return err
	}
	defer child.StopAll(&err, server)
	return b.call(ctx, "fill", 0, load.FillInput{NATS: at.NATS, Holders: holders, Events: events}, &struct{}{})
}

func replayRole(ctx context.Context, raw json.RawMessage, answer func(any) error) (err error) {
	in, err := child.Input[replayInput](raw)
	if err != nil {
		return err
	}
	b, err := cluster.StartBroker(filepath.Join(in.Dir, "nats"), true)
	if err != nil {
		return err
	}
	defer b.Close()
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: b, Worker: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	within, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	began := time.Now()
	p.Run()
	err = p.CaughtUp(within)
	out := replayOutput{PerSecond: float64(p.Events()) / time.Since(began).Seconds()}
	switch {
	case within.Err() != nil && ctx.Err() == nil:
		out.Note = fmt.Sprintf("not done after %v, of %d events %d were applied", replayPatience, in.Events, p.Events())
	case err != nil:
		return err
	case p.Events() != uint64(in.Events):
		return fmt.Errorf("%d events were applied, %d are in the log", p.Events(), in.Events)
	}
	return answer(out)
}

func readRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[replayInput](raw)
	if err != nil {
		return err
	}
	b, err := cluster.StartBroker(filepath.Join(in.Dir, "nats"), true)
	if err != nil {
		return err
	}
	defer b.Close()
	log, err := ingest.OpenLog(ctx, b.JetStream, ingest.LogConfig{})
	if err != nil {
		return err
	}
	last, err := log.LastPosition(ctx)
	if err != nil {
		return err
	}
	fastest := time.Duration(1<<63 - 1)
	var subjects []string
	var ends []uint64
	for p := range log.Partitions() {
		end, err := log.End(ctx, p)
		if err != nil {
			return err
		}
		subjects, ends = append(subjects, ingest.LogSubject(p)), append(ends, end)
	}
	for _, way := range []func() error{
		func() error { return readTo(ctx, b.JetStream, "", last) },
		func() error { return readEach(ctx, b.JetStream, subjects, ends) },
	} {
		began := time.Now()
		if err := way(); err != nil {
			return err
		}
		fastest = min(fastest, time.Since(began))
	}
	return answer(float64(in.Events) / fastest.Seconds())
}

func readEach(ctx context.Context, js jetstream.JetStream, subjects []string, ends []uint64) error {
	errs := make([]error, len(subjects))
	var reading sync.WaitGroup
	for i := range subjects {
		reading.Go(func() { errs[i] = readTo(ctx, js, subjects[i], ends[i]) })
	}
	reading.Wait()
	return errors.Join(errs...)
}

// readTo reads the log, or one subject of it, up to a position.
func readTo(ctx context.Context, js jetstream.JetStream, subject string, end uint64) error {
	if end == 0 {
		return nil
	}
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if subject != "" {
		config.FilterSubjects = []string{subject}
	}
	consumer, err := js.OrderedConsumer(ctx, ingest.StreamName, config)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	tell := func(err error) {
		select {
		case done <- err:
		default:
		}
	}
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Stream >= end {
			tell(err)
		}
	}, jetstream.PullMaxBytes(2<<20))
	if err != nil {
		return err
	}
	defer func() { reading.Stop(); <-reading.Closed() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
