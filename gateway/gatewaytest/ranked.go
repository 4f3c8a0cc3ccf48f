package gatewaytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

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

// NewRanked returns a gateway for a test, with a store, a clock and no holders.
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

// Take adds events, applies all facts of their holders again, and publishes.
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

// Publish puts the stored figures of a holder into the snapshots.
func (r *Ranked) Publish(holder string) {
	record, err := r.Store.Holder(r.T.Context(), r.Partition(holder), holder)
	if err != nil {
		r.T.Fatal(err)
	}
	f := record.Figures
	s := &holdpb.HoldStat{
		HolderId: holder, WeightedScore: f.Settled.Score.Float64(), ScoreExact: f.Settled.Score.String(), HeldExact: f.Settled.Held.String(),
		Position: r.Position, UpdatedAt: fakes.Timestamp(record.UpdatedAt), Rules: r.Gateway.Reads().Active().RulesVersion,
	}
	line := r.lineOf(holder)
	setLine(s, &line)
	r.Snapshots.Put(s)
}

// SetClock moves the clock, and has the owners of the partitions publish the next
// pieces of the lines that have ended by then.
func (r *Ranked) SetClock(now int64) {
	r.T.Helper()
	r.Now.Store(now)
	r.NextPieces(r.Snapshots)
}

// NextPieces publishes the next pieces of the lines that have ended, as the owners of
// the partitions do: the same snapshots, with the lines that hold now.
func (r *Ranked) NextPieces(snapshots *fakes.Snapshots) {
	r.T.Helper()
	snapshots.Each(func(c projection.Change) bool {
		s := new(holdpb.HoldStat)
		if err := proto.Unmarshal(c.Value, s); err != nil {
			r.T.Fatal(err)
		}
		if s.Until == nil || s.Until.AsTime().UnixNano() > r.Now.Load() {
			return true
		}
		line := r.lineOf(s.HolderId)
		setLine(s, &line)
		snapshots.Put(s)
		return true
	})
}

// lineOf is the line of a holder that holds now.
func (r *Ranked) lineOf(holder string) (line hold.Line) {
	r.T.Helper()
	view, err := r.Store.View(r.T.Context(), r.Partition(holder))
	if err != nil {
		r.T.Fatal(err)
	}
	defer view.Close()
	rules := r.Gateway.Reads().Active().Rules
	found := false
	err = view.Pairs(r.T.Context(), holder, func(record *projection.PairRecord) error {
		pair, err := record.Open()
		if err != nil {
			return err
		}
		f := rules.Of(record.Key.Token).Figures(pair, r.Now.Load())
		if found {
			f = (hold.Figures{Line: line}).Plus(f)
		}
		line, found = f.Line, true
		return record.Check(pair)
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return line
}

func setLine(s *holdpb.HoldStat, l *hold.Line) {
	s.LiveBase, s.LiveRate, s.LiveHeldBase, s.LiveHeldRate = l.Base.Score.String(), l.Rate.String(), l.Base.Held.String(), l.HeldRate
	s.Since, s.Until = fakes.Timestamp(l.Since), nil
	if l.Until != 0 {
		s.Until = fakes.Timestamp(l.Until)
	}
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

// View returns the error of the reader.
func (r NoReader) View(context.Context, int) (projection.PartitionView, error) { return nil, r.Err }
