package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// coldStartRow is how long `holdmetrics serve` takes from exec to ready (the
// store answers, partitions move) on a data directory of 1,000,000 holders with
// one ended hold each, after a clean stop; the median of three starts. The files
// are in the page cache. Not measured: a start after a crash.
type coldStartRow struct{ once }

func (coldStartRow) name() string  { return "coldstart" }
func (coldStartRow) about() string { return "cold start: serve on 1,000,000 holders, to ready" }

func (coldStartRow) run(ctx context.Context, b *bench) (_ []report.Line, err error) {
	dir, err := b.tempDir("coldstart")
	if err != nil {
		return nil, err
	}
	holders := b.size(1_000_000)
	if err := b.prepareServe(ctx, dir, holders); err != nil {
		return nil, err
	}
	var took []float64
	for range 3 {
		s, err := b.startServe(ctx, dir)
		if err != nil {
			return nil, err
		}
		err = s.ready(ctx)
		took = append(took, float64(time.Since(s.began))/float64(time.Millisecond))
		if err := errors.Join(err, s.stop()); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return []report.Line{{Name: "cold start", Value: took[1], Unit: "ms", Fsync: true, Aim: report.Aim{report.AtMost(3000)},
		Note: fmt.Sprintf("%d holders; the starts took %.0f to %.0f ms", holders, took[0], took[2])}}, nil
}

// prepareServe makes a data directory whose projections have every holder.
func (b *bench) prepareServe(ctx context.Context, dir string, holders int) (err error) {
	s, err := b.startServe(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.call(ctx, "fill", 0, load.FillInput{NATS: s.at.NATS, Holders: holders, Events: holders}, &struct{}{}); err != nil {
		return err
	}
	_, err = projected(ctx, s.at)
	return err
}
