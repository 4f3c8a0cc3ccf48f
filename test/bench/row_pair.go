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
)

// pairRow is one pair of 1,000,000 ended holds in the embedded store, with a
// worker whose cache has 64 MiB, in one process with the broker. Appends are
// holds behind the last one, random inserts are short holds in gaps between
// others; both are counted from the first one sent until the store has the last,
// which is asked for at once, after a few that warm up. An as-of read
// is Scores of that holder at a random instant, through the gRPC door. Against
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

func (pairRow) run(ctx context.Context, b *bench) (_ []line, err error) {
	in := pairInput{Holds: b.size(pairHolds), Events: b.size(pairEvents)}
	if in.Dir, err = b.tempDir("pair"); err != nil {
		return nil, err
	}
	var out pairOutput
	if err := b.call(ctx, "pair", 0, in, &out); err != nil {
		return nil, err
	}
	const small = "the same on small pairs"
	return []line{
		{name: "large pair, appends", value: out.Big.Appends, unit: "events/s", fsync: true, against: small, againstValue: out.Small.Appends, aim: aim{ratioAtLeast(0.3)}},
		{name: "large pair, random inserts", value: out.Big.Inserts, unit: "events/s", fsync: true, against: small, againstValue: out.Small.Inserts, aim: aim{ratioAtLeast(0.3)}},
		{name: "large pair, as-of read", value: out.Big.AsOf, unit: "ms", fsync: true, against: small, againstValue: out.Small.AsOf, aim: aim{atMost(10)}},
	}, nil
}

func pairRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := input[pairInput](raw)
	if err != nil {
		return err
	}
	b, err := startBroker(filepath.Join(in.Dir, "nats"), true)
	if err != nil {
		return err
	}
	defer b.close()
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
	start := int64(eventBase + i*eventStep)
	return k.draft(pair, start, start+5)
}

// inGap is a hold of a second in the gap behind the i-th hold.
func (k *pairKind) inGap(pair, i int) hold.Draft {
	start := int64(eventBase + i*eventStep)
	return k.draft(pair, start+6, start+7)
}

// fillPairs makes log and store of all pairs, with a cache that has room for them.
func fillPairs(ctx context.Context, b *broker, in *pairInput) (err error) {
	p, err := startPlant(ctx, plantConfig{dir: in.Dir, broker: b, worker: true, cacheBytes: 64 << 30})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	p.run(ctx)
	for _, k := range []pairKind{{holder: "large", pairs: 1, holds: in.Holds}, {holder: "small", pairs: smallPairs, holds: smallHolds}, {holder: "one", pairs: 1, holds: smallHolds}} {
		at := 0
		if err := fill(ctx, p.log, k.pairs*k.holds, logBatch, func(drafts []hold.Draft) {
			for i := range drafts {
				drafts[i] = k.hold(at%k.pairs, at/k.pairs)
				at++
			}
		}); err != nil {
			return err
		}
	}
	return p.caughtUp(ctx)
}

// measurePairs measures on a worker that was just started with a small cache.
func measurePairs(ctx context.Context, b *broker, in *pairInput, k pairKind) (out pairFigures, err error) {
	p, err := startPlant(ctx, plantConfig{dir: in.Dir, broker: b, worker: true, cacheBytes: pairCache, doors: true})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	p.run(ctx)
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
func pairRate(ctx context.Context, p *plant, events int, next func() hold.Draft) (float64, error) {
	send := func(n int) error {
		return fill(ctx, p.log, n, logBatch, func(drafts []hold.Draft) {
			for i := range drafts {
				drafts[i] = next()
			}
		})
	}
	if err := errors.Join(send(pairWarm), p.stored(ctx)); err != nil {
		return 0, err
	}
	before, began := p.events(), time.Now()
	if err := send(events); err != nil {
		return 0, err
	}
	within, cancel := context.WithTimeout(ctx, pairPatience)
	defer cancel()
	err := p.stored(within)
	value := float64(p.events()-before) / time.Since(began).Seconds()
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		// The rest goes through now, so that what is measured next has the worker to itself.
		err = p.stored(ctx)
	}
	return value, err
}

// asOf is the median of reads, in ms.
func asOf(ctx context.Context, p *plant, k pairKind) (float64, error) {
	conn, err := grpc.NewClient(p.addresses.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := holdpb.NewHoldMetricsQueryClient(conn)
	instants := rand.New(rand.NewPCG(3, 4))
	span := k.holds * eventStep
	var took []time.Duration
	for range pairReads {
		at := time.Unix(eventBase+instants.Int64N(int64(span)), 0)
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
