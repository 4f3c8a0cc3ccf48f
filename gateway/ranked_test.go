package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// ranked is a world whose snapshots say what its store has.
type ranked struct {
	*world
	t         *testing.T
	snapshots *fakeSnapshots
	drafts    []hold.Draft
	position  uint64
	now       atomic.Int64
}

func newRanked(t *testing.T, change ...func(*world)) *ranked {
	r := &ranked{t: t, snapshots: readySnapshots()}
	r.now.Store(testNow)
	change = append([]func(*world){func(w *world) {
		w.cfg.Snapshots = r.snapshots
		w.cfg.Log = &fakeLog{partitions: 4, ends: map[int]uint64{0: 99, 1: 99, 2: 99, 3: 99}}
		w.cfg.Now = r.now.Load
	}}, change...)
	r.world = newWorld(t, change...)
	return r
}

// take adds events, all of whose holders' facts are applied anew, and publishes.
func (r *ranked) take(drafts ...hold.Draft) {
	r.t.Helper()
	r.position++
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
	r.apply(r.t, r.position, int64(r.position)*1e9, all...)
	for holder := range changed {
		r.publish(holder)
	}
	for p := range r.cfg.Log.Partitions() {
		r.snapshots.reach(p, projection.Reached{Position: r.position, LogTime: int64(r.position) * 1e9})
	}
}

func (r *ranked) publish(holder string) {
	record, err := r.store.Holder(r.t.Context(), r.partition(holder), holder)
	if err != nil {
		r.t.Fatal(err)
	}
	f := record.Figures
	s := &holdpb.HoldStat{
		HolderId: holder, WeightedScore: f.Settled.Score.Float64(), ScoreExact: f.Settled.Score.String(), HeldExact: f.Settled.Held.String(),
		LiveBase: f.Line.Base.Score.String(), LiveRate: f.Line.Rate.String(), LiveHeldBase: f.Line.Base.Held.String(), LiveHeldRate: f.Line.HeldRate,
		Since: timestamp(f.Line.Since), Position: r.position, UpdatedAt: timestamp(record.UpdatedAt), Rules: r.gateway.Reads().current().RulesVersion,
	}
	if f.Line.Until != 0 {
		s.Until = timestamp(f.Line.Until)
	}
	r.snapshots.put(s)
}

// naive is the ranking as the stored facts have it: holder and score, in order.
func (r *ranked) naive(token string, by holdpb.RankBy) (order []string) {
	r.t.Helper()
	req := &holdpb.ScoresRequest{AsOf: timestamp(r.now.Load()), TokenId: token}
	if by == holdpb.RankBy_SETTLED {
		req.AsOf = nil
	}
	rows, err := allOf(r.t, r.world, req)
	if err != nil {
		r.t.Fatal(err)
	}
	score := func(s *holdpb.Score) hold.Score {
		text := s.SettledScore
		if by == holdpb.RankBy_LIVE {
			text = s.Score
		}
		v, err := hold.ParseScore(text)
		if err != nil {
			r.t.Fatal(err)
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

// pages is the ranking as pages have it.
func (r *ranked) pages(token string, by holdpb.RankBy, limit uint32) (order []string) {
	r.t.Helper()
	req := &holdpb.TopRequest{TokenId: token, By: by, Limit: limit}
	for {
		page, err := r.query().Top(r.t.Context(), req)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, h := range page.Holders {
			score := h.SettledScore
			if by == holdpb.RankBy_LIVE {
				score = h.Score
			}
			if order = append(order, h.HolderId+" "+score); h.Rank != uint64(len(order)) {
				r.t.Fatalf("%v is at %d", h, len(order))
			}
		}
		if req.Cursor = page.NextCursor; req.Cursor == "" {
			if page.Count != uint64(len(order)) {
				r.t.Fatalf("%d of %d", len(order), page.Count)
			}
			return order
		}
	}
}

// live reads the snapshots of some holders, or of all.
func (r *ranked) live(holders ...string) map[string]*holdpb.HoldStat {
	r.t.Helper()
	stats, err := received(r.metrics().Stats(r.t.Context(), &holdpb.StatsRequest{HolderIds: holders}))
	if err != nil {
		r.t.Fatal(err)
	}
	byHolder := map[string]*holdpb.HoldStat{}
	for _, s := range stats {
		byHolder[s.HolderId] = s
	}
	return byHolder
}

// sec is a second, in nanoseconds.
const sec = int64(time.Second)

// noReader is a reader that has no views.
type noReader struct {
	projection.Reader
	err error
}

func (r noReader) View(context.Context, int) (projection.PartitionView, error) { return nil, r.err }
