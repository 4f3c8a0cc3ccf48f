package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/cluster"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// pairRow is one pair of 1,000,000 ended holds in the embedded store, with a
// worker whose cache has 64 MiB, in one process with the broker. Appends are
// holds behind the last one, random inserts are short holds in gaps between
// others; both are counted from the first one sent until the store has the last,
// which is asked for at once, after a few that warm up. An as-of read
// is Scores of that holder at a random instant, over gRPC. Against
// the same on small pairs of 100 holds: as many events spread over 2,500 of them
// (one holder, so one partition as well), and a read of one. Where the worker
// does not get through in pairPatience, what it got through counts.
type pairRow struct{ once }

const (
	pairHolds    = 1_000_000
	pairEvents   = 200_000 // appended, and inserted
	pairWarm     = 2_000   // before that
	smallHolds   = 100
	smallPairs   = 2_500
	pairCache    = 64 << 20
	pairPatience = 15 * time.Second
	pairReads    = 21
)

func (pairRow) name() string { return "pair" }
func (pairRow) about() string {
	return "one pair of 1,000,000 holds in the store, 64 MiB of cache: appends, random inserts, as-of read"
}

// pairInput is how large the pair is.
type pairInput struct {
	Dir    string
	Holds  int
	Events int
}

// figures are of one pair, or of small ones: events/s and ms.
type pairFigures struct{ Appends, Inserts, AsOf float64 }

type pairOutput struct{ Big, Small pairFigures }

func (pairRow) run(ctx context.Context, b *bench) (_ []report.Line, err error) {
	in := pairInput{Holds: b.size(pairHolds), Events: b.size(pairEvents)}
	if in.Dir, err = b.tempDir("pair"); err != nil {
		return nil, err
	}
	var out pairOutput
	if err := b.call(ctx, "pair", 0, in, &out); err != nil {
		return nil, err
	}
	const small = "the same on small pairs"
	return []report.Line{
		{Name: "large pair, appends", Value: out.Big.Appends, Unit: "events/s", Fsync: true, Against: small, AgainstValue: out.Small.Appends, Aim: report.Aim{report.RatioAtLeast(0.3)}},
		{Name: "large pair, random inserts", Value: out.Big.Inserts, Unit: "events/s", Fsync: true, Against: small, AgainstValue: out.Small.Inserts, Aim: report.Aim{report.RatioAtLeast(0.3)}},
		{Name: "large pair, as-of read", Value: out.Big.AsOf, Unit: "ms", Fsync: true, Against: small, AgainstValue: out.Small.AsOf, Aim: report.Aim{report.AtMost(10)}},
	}, nil
}

func pairRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[pairInput](raw)
	if err != nil {
		return err
	}
	b, err := cluster.StartBroker(filepath.Join(in.Dir, "nats"), true)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := fillPairs(ctx, b, &in); err != nil {
		return err
	}
	var out pairOutput
	for _, part := range []struct {
		kind pairKind
		to   *pairFigures
	}{
		{pairKind{holder: "small", pairs: smallPairs, holds: smallHolds, reader: "one"}, &out.Small},
		{pairKind{holder: "large", pairs: 1, holds: in.Holds, reader: "large"}, &out.Big},
	} {
		if *part.to, err = measurePairs(ctx, b, &in, part.kind); err != nil {
			return err
		}
	}
	return answer(out)
}

// pairKind is a holder with so many pairs of so many holds each, and the holder
// that an as-of read asks for.
type pairKind struct {
	holder       string
	pairs, holds int
	reader       string
}

func (k *pairKind) draft(pair int, start, end int64) hold.Draft {
	return hold.Draft{Token: fmt.Sprintf("token-%03d", pair), Holder: k.holder, Weight: 1,
		Start: hold.Stamp{Seconds: start, Set: true}, End: hold.Stamp{Seconds: end, Set: true}}
}

// hold is the i-th hold of a pair: five seconds, then a gap of five.
func (k *pairKind) hold(pair, i int) hold.Draft {
	start := int64(load.EventBase + i*load.EventStep)
	return k.draft(pair, start, start+5)
}

// inGap is a hold of a second in the gap behind the i-th hold.
func (k *pairKind) inGap(pair, i int) hold.Draft {
	start := int64(load.EventBase + i*load.EventStep)
	return k.draft(pair, start+6, start+7)
}

// fillPairs makes log and store of all pairs, with a cache that has room for them.
func fillPairs(ctx context.Context, b *cluster.Broker, in *pairInput) (err error) {
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: b, Worker: true, CacheBytes: 64 << 30})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	p.Run()
	for _, k := range []pairKind{{holder: "large", pairs: 1, holds: in.Holds}, {holder: "small", pairs: smallPairs, holds: smallHolds}, {holder: "one", pairs: 1, holds: smallHolds}} {
		at := 0
		if err := load.Fill(ctx, p.Log, k.pairs*k.holds, load.LogBatch, func(drafts []hold.Draft) {
			for i := range drafts {
				drafts[i] = k.hold(at%k.pairs, at/k.pairs)
				at++
			}
		}); err != nil {
			return err
		}
	}
	return p.CaughtUp(ctx)
}

// measurePairs measures on a worker that was just started with a small cache.
func measurePairs(ctx context.Context, b *cluster.Broker, in *pairInput, k pairKind) (out pairFigures, err error) {
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: b, Worker: true, CacheBytes: pairCache, Gateway: true})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	p.Run()
	if out.AsOf, err = asOf(ctx, p, k); err != nil {
		return out, err
	}
	at := 0
	if out.Appends, err = pairRate(ctx, p, in.Events, func() hold.Draft {
		at++
		return k.hold((at-1)%k.pairs, k.holds+(at-1)/k.pairs)
	}); err != nil {
		return out, err
	}
	// Each gap once: those of all pairs, in random order.
	gaps := rand.New(rand.NewPCG(1, 2)).Perm(k.pairs * k.holds)
	if len(gaps) < in.Events+pairWarm {
		return out, fmt.Errorf("%d gaps are too few", len(gaps))
	}
	at = 0
	out.Inserts, err = pairRate(ctx, p, in.Events, func() hold.Draft {
		gap := gaps[at]
		at++
		return k.inGap(gap%k.pairs, gap/k.pairs)
	})
	return out, err
}

// pairRate is how many events a second get into the store.
func pairRate(ctx context.Context, p *cluster.Cluster, events int, next func() hold.Draft) (float64, error) {
	send := func(n int) error {
		return load.Fill(ctx, p.Log, n, load.LogBatch, func(drafts []hold.Draft) {
			for i := range drafts {
				drafts[i] = next()
			}
		})
	}
	if err := errors.Join(send(pairWarm), p.Stored(ctx)); err != nil {
		return 0, err
	}
	before, began := p.Events(), time.Now()
	if err := send(events); err != nil {
		return 0, err
	}
	within, cancel := context.WithTimeout(ctx, pairPatience)
	defer cancel()
	err := p.Stored(within)
	value := float64(p.Events()-before) / time.Since(began).Seconds()
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		// The rest goes through now, so that what is measured next has the worker to itself.
		err = p.Stored(ctx)
	}
	return value, err
}

// asOf is the median of reads, in ms.
func asOf(ctx context.Context, p *cluster.Cluster, k pairKind) (float64, error) {
	conn, err := grpc.NewClient(p.Addresses.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := holdpb.NewHoldMetricsQueryClient(conn)
	instants := rand.New(rand.NewPCG(3, 4))
	span := k.holds * load.EventStep
	var took []time.Duration
	for range pairReads {
		at := time.Unix(load.EventBase+instants.Int64N(int64(span)), 0)
		began := time.Now()
		rows, err := client.Scores(ctx, &holdpb.ScoresRequest{HolderId: k.reader, AsOf: timestamppb.New(at)})
		if err == nil {
			_, err = rows.Recv()
		}
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return percentile(took, 0.5), nil
}
