package query

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// draw draws lines anew, the partitions side by side.
func (r *relining) draw(ctx context.Context, due []breakAt, now int64) error {
	partitions := r.b.S.cfg.Log.Partitions()
	byPartition := make([][]projection.Change, partitions)
	for _, b := range due {
		c, ok := r.b.Snapshots.Lookup(b.key)
		holder, err := ingest.HolderOf(b.key)
		if ok && c.Number == b.number && err == nil {
			p := ingest.Partition(holder, partitions)
			byPartition[p] = append(byPartition[p], c)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for p, changes := range byPartition {
		if len(changes) > 0 {
			group.Go(func() error { return r.drawPartition(ctx, p, changes, now) })
		}
	}
	return group.Wait()
}

// drawPartition draws anew the lines of a partition that are over at now.
func (r *relining) drawPartition(ctx context.Context, partition int, changes []projection.Change, now int64) error {
	last := uint64(0)
	for i := range changes {
		last = max(last, snapshotPosition(changes[i].Value))
	}
	// The store may be behind the snapshots, but not for long.
	if last > 0 {
		if err := r.b.awaitApplied(ctx, []int{partition}, last); err != nil {
			return err
		}
	}
	view, err := r.b.view(ctx, partition)
	if err != nil {
		return err
	}
	defer view.Close()
	for i := range changes {
		if err := r.drawOne(ctx, view, &changes[i], now); err != nil {
			return err
		}
	}
	return nil
}

func (r *relining) drawOne(ctx context.Context, view projection.PartitionView, c *projection.Change, now int64) error {
	stat := new(holdpb.HoldStat)
	if proto.Unmarshal(c.Value, stat) != nil {
		return nil // whoever reads it says so
	}
	if until := stat.GetUntil(); until == nil || until.AsTime().UnixNano() > now {
		return nil
	}
	record, err := view.Holder(ctx, stat.HolderId)
	if errors.Is(err, projection.ErrNotFound) || err == nil && record.Position != stat.Position {
		return nil // another snapshot is on its way
	}
	if err != nil {
		return storeError(ctx, err)
	}
	figures, found, err := r.b.drawAt(ctx, view, stat.HolderId, "", now)
	if err != nil || !found {
		return err
	}
	setLine(stat, &figures.Line)
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(stat)
	if err != nil {
		return err
	}
	if r.b.Snapshots.Reline(*c, value) {
		return nil
	}
	if current, ok := r.b.Snapshots.Lookup(c.Key); ok && current.Number == c.Number {
		return errFrozen // or nobody would come back to it when a switch fails
	}
	return nil
}

// errFrozen says that a snapshot does not take another line for now.
var errFrozen = errors.New("gateway: the snapshots stand still for a switch of generations")

// setLine gives a snapshot another line.
func setLine(s *holdpb.HoldStat, l *hold.Line) {
	s.LiveBase, s.LiveRate = l.Base.Score.String(), l.Rate.String()
	s.LiveHeldBase, s.LiveHeldRate = l.Base.Held.String(), l.HeldRate
	s.Since, s.Until = timestamppb.New(TimeOf(l.Since)), nil
	if l.Until != 0 {
		s.Until = timestamppb.New(TimeOf(l.Until))
	}
}

// drawAt is what the store has of a holder, or of one token of it, with the line that
// holds at t; false where there are no pairs.
func (b *Generation) drawAt(ctx context.Context, view projection.PartitionView, holder, token string, t int64) (f hold.Figures, found bool, err error) {
	err = holderPairs(ctx, view, holder, token, func(record *projection.PairRecord) error {
		own := record.Figures
		if !own.Line.Holds(t) {
			pair, err := record.Open()
			if err != nil {
				return err
			}
			own.Line = b.Rules.Of(record.Key.Token).Figures(pair, t).Line
			if err := record.Check(pair); err != nil {
				return err
			}
		}
		if found {
			own = f.Plus(own)
		}
		f, found = own, true
		return nil
	})
	return f, found, storeError(ctx, err)
}
