package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/cluster"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// rankRow is GET /top?limit=100 of 1,000,000 holders at a gateway of its own
// process, while 2,000 of their snapshots change a second: from the request to the
// last byte of the answer, the median of a hundred; the note has the p99, beside that
// of the peer. Each asks for a new state: the
// gateway gives who asks within 200 ms of another the same one. Against GET /stats of
// one holder, which is a look-up by HTTP and JSON. Not measured: making the board, which the note has, once after a
// start; and rankings of a token, which are the same once the board is made.
type rankRow struct{ once }

func (rankRow) name() string  { return "rank" }
func (rankRow) about() string { return "rank: top 100 of 1,000,000 holders, settled and live" }

type rankInput struct {
	Dir      string
	Holders  int
	Requests int
}

// rankOutput is in ms and bytes.
type rankOutput struct {
	Settled, Live, Rank, One askedOften
	Build, BytesEach         float64
}

// askedOften is how long an answer took, in ms.
type askedOften struct{ P50, P99 float64 }

func (a askedOften) against(peer askedOften) string {
	return fmt.Sprintf("p99 %s ms, peer %s ms", report.Number(a.P99), report.Number(peer.P99))
}

func (rankRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	in := rankInput{Holders: b.size(1_000_000), Requests: b.size(100)}
	var err error
	if in.Dir, err = b.tempDir("rank"); err != nil {
		return nil, err
	}
	var out rankOutput
	if err := b.call(ctx, "rank", 0, in, &out); err != nil {
		return nil, err
	}
	const against = "one snapshot by HTTP"
	top := func(name string, a askedOften) report.Line {
		return report.Line{Name: name, Value: a.P50, Unit: "ms", Against: against, AgainstValue: out.One.P50, Aim: report.Aim{report.AtMost(10)}, Note: a.against(out.One)}
	}
	lines := []report.Line{top("top 100, settled", out.Settled), top("top 100, live", out.Live), top("rank of one, live", out.Rank)}
	lines[0].Note += fmt.Sprintf("; the board was made in %s s and takes %s bytes a holder beside the snapshots", report.Number(out.Build/1000), report.Number(out.BytesEach))
	return lines, nil
}

func rankRole(ctx context.Context, raw json.RawMessage, answer func(any) error) (err error) {
	in, err := child.Input[rankInput](raw)
	if err != nil {
		return err
	}
	b, err := cluster.StartBroker(filepath.Join(in.Dir, "nats"), false)
	if err != nil {
		return err
	}
	defer b.Close()
	p, err := cluster.Start(ctx, cluster.Config{Dir: in.Dir, Broker: b, Gateway: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	var out rankOutput
	if err := measureRank(ctx, p, &in, &out); err != nil {
		return err
	}
	return answer(out)
}

func measureRank(ctx context.Context, p *cluster.Cluster, in *rankInput, out *rankOutput) error {
	n := 0
	for n < in.Holders {
		entries := make([]projection.Entry, 0, 10_000)
		for len(entries) < cap(entries) && n < in.Holders {
			e, err := rankedStat(n, n)
			if err != nil {
				return err
			}
			entries = append(entries, e)
			n++
		}
		if err := p.Snapshots.Publish(ctx, 0, entries, projection.Reached{Position: uint64(n), LogTime: time.Now().UnixNano()}); err != nil {
			return err
		}
	}
	url := "http://" + p.Addresses.HTTP
	for { // until the view has all
		if _, err := ask(ctx, url+"/stats?holder="+load.HolderName(n-1)); err == nil {
			break
		}
		if !load.Pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	before, err := processMemory("VmRSS:")
	if err != nil {
		return err
	}
	took, err := ask(ctx, url+"/top?limit=100")
	if err != nil {
		return err
	}
	out.Build = milliseconds(took)
	after, err := processMemory("VmRSS:")
	if err != nil {
		return err
	}
	out.BytesEach = float64(after-before) / float64(in.Holders)

	changing, cancel := context.WithCancelCause(ctx)
	changed := make(chan error, 1)
	go func() {
		changed <- ticking(changing, time.Hour, 10*time.Millisecond, func() error {
			entries := make([]projection.Entry, 20)
			for i := range entries {
				n++
				var err error
				if entries[i], err = rankedStat(n*7919%in.Holders, n); err != nil {
					return err
				}
			}
			return p.Snapshots.Publish(changing, 0, entries, projection.Reached{Position: uint64(n)})
		})
	}()
	defer func() {
		cancel(load.ErrMeasured)
		<-changed
	}()
	for _, c := range []struct {
		path string
		took *askedOften
	}{
		{"/top?limit=100", &out.Settled},
		{"/top?limit=100&by=live", &out.Live},
		{"/stats/" + load.HolderName(in.Holders/2) + "/rank?by=live", &out.Rank},
		{"/stats?holder=" + load.HolderName(in.Holders/2), &out.One},
	} {
		var all []time.Duration
		for range in.Requests {
			if !load.Pause(ctx, 210*time.Millisecond) {
				return context.Cause(ctx)
			}
			took, err := ask(ctx, url+c.path)
			if err != nil {
				return err
			}
			all = append(all, took)
		}
		*c.took = askedOften{percentile(all, 0.50), percentile(all, 0.99)}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ask reads an answer to its end.
func ask(ctx context.Context, url string) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	took := time.Since(began)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, response.Status, body)
	}
	return took, err
}

// rankedStat is a snapshot of a holder: scores all over the place, a third of them
// with a hold that runs.
func rankedStat(holder, seed int) (projection.Entry, error) {
	score := fmt.Sprintf("%d.%09d", seed*7919%1_000_003, seed%1_000_000_000)
	rate := "0"
	if holder%3 == 0 {
		rate = fmt.Sprint(1 + seed%97)
	}
	now := timestamppb.Now()
	name := load.HolderName(holder)
	value, err := proto.Marshal(&holdpb.HoldStat{
		HolderId: name, TotalSeconds: 5, ScoreExact: score, HeldExact: "5", LiveBase: score, LiveRate: rate,
		LiveHeldBase: "5", UpdatedAt: now, Since: now, Position: uint64(seed), Rules: "none", Generation: "1",
	})
	return projection.Entry{Key: ingest.SubjectToken(name), Value: value}, err
}
