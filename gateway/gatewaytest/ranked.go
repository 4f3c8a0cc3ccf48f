package gatewaytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// Ranked is a world whose snapshots say what its store has.
type Ranked struct {
	*World
	T         *testing.T
	Snapshots *fakes.Snapshots
	drafts    []hold.Draft
	Position  uint64
	Now       atomic.Int64
}

func NewRanked(t *testing.T, change ...func(*World)) *Ranked {
	r := &Ranked{T: t, Snapshots: fakes.ReadySnapshots()}
	r.Now.Store(fakes.TestNow)
	change = append([]func(*World){func(w *World) {
		w.Cfg.Snapshots = r.Snapshots
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 99, 1: 99, 2: 99, 3: 99}}
		w.Cfg.Now = r.Now.Load
	}}, change...)
	r.World = NewWorld(t, change...)
	return r
}

// Take adds events, all of whose holders' facts are applied anew, and publishes.
func (r *Ranked) Take(drafts ...hold.Draft) {
	r.T.Helper()
	r.Position++
	changed := map[string]bool{}
	for _, d := range drafts {
		changed[d.Holder] = true
	}
	r.drafts = append(r.drafts, drafts...)
	var all []hold.Draft
	for _, d := range r.drafts {
		if changed[d.Holder] {
			all = append(all, d)
		}
	}
	r.Apply(r.T, r.Position, int64(r.Position)*1e9, all...)
	for holder := range changed {
		r.Publish(holder)
	}
	for p := range r.Cfg.Log.Partitions() {
		r.Snapshots.Reach(p, projection.Reached{Position: r.Position, LogTime: int64(r.Position) * 1e9})
	}
}

func (r *Ranked) Publish(holder string) {
	record, err := r.Store.Holder(r.T.Context(), r.Partition(holder), holder)
	if err != nil {
		r.T.Fatal(err)
	}
	f := record.Figures
	s := &holdpb.HoldStat{
		HolderId: holder, WeightedScore: f.Settled.Score.Float64(), ScoreExact: f.Settled.Score.String(), HeldExact: f.Settled.Held.String(),
		LiveBase: f.Line.Base.Score.String(), LiveRate: f.Line.Rate.String(), LiveHeldBase: f.Line.Base.Held.String(), LiveHeldRate: f.Line.HeldRate,
		Since: fakes.Timestamp(f.Line.Since), Position: r.Position, UpdatedAt: fakes.Timestamp(record.UpdatedAt), Rules: r.Gateway.Reads().Active().RulesVersion,
	}
	if f.Line.Until != 0 {
		s.Until = fakes.Timestamp(f.Line.Until)
	}
	r.Snapshots.Put(s)
}

// Naive is the ranking as the stored facts have it: holder and score, in order.
func (r *Ranked) Naive(token string, by holdpb.RankBy) (order []string) {
	r.T.Helper()
	req := &holdpb.ScoresRequest{AsOf: fakes.Timestamp(r.Now.Load()), TokenId: token}
	if by == holdpb.RankBy_SETTLED {
		req.AsOf = nil
	}
	rows, err := AllOf(r.T, r.World, req)
	if err != nil {
		r.T.Fatal(err)
	}
	score := func(s *holdpb.Score) hold.Score {
		text := s.SettledScore
		if by == holdpb.RankBy_LIVE {
			text = s.Score
		}
		v, err := hold.ParseScore(text)
		if err != nil {
			r.T.Fatal(err)
		}
		return v
	}
	slices.SortFunc(rows, func(a, b *holdpb.Score) int {
		if c := score(b).Cmp(score(a)); c != 0 {
			return c
		}
		return strings.Compare(a.HolderId, b.HolderId)
	})
	for _, s := range rows {
		order = append(order, fmt.Sprint(s.HolderId, " ", score(s)))
	}
	return order
}

// Pages is the ranking as pages have it.
func (r *Ranked) Pages(token string, by holdpb.RankBy, limit uint32) (order []string) {
	r.T.Helper()
	req := &holdpb.TopRequest{TokenId: token, By: by, Limit: limit}
	for {
		page, err := r.Query().Top(r.T.Context(), req)
		if err != nil {
			r.T.Fatal(err)
		}
		for _, h := range page.Holders {
			score := h.SettledScore
			if by == holdpb.RankBy_LIVE {
				score = h.Score
			}
			if order = append(order, h.HolderId+" "+score); h.Rank != uint64(len(order)) {
				r.T.Fatalf("%v is at %d", h, len(order))
			}
		}
		if req.Cursor = page.NextCursor; req.Cursor == "" {
			if page.Count != uint64(len(order)) {
				r.T.Fatalf("%d of %d", len(order), page.Count)
			}
			return order
		}
	}
}

// Live reads the snapshots of some holders, or of all.
func (r *Ranked) Live(holders ...string) map[string]*holdpb.HoldStat {
	r.T.Helper()
	stats, err := Received(r.Metrics().Stats(r.T.Context(), &holdpb.StatsRequest{HolderIds: holders}))
	if err != nil {
		r.T.Fatal(err)
	}
	byHolder := map[string]*holdpb.HoldStat{}
	for _, s := range stats {
		byHolder[s.HolderId] = s
	}
	return byHolder
}

// Sec is a second, in nanoseconds.
const Sec = int64(time.Second)

// NoReader is a reader that has no views.
type NoReader struct {
	projection.Reader
	Err error
}

func (r NoReader) View(context.Context, int) (projection.PartitionView, error) { return nil, r.Err }
