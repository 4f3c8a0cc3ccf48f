// Package scores reads what stores and buckets of snapshots have of holders, to compare it
// with the log.
package scores

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/audit/check"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// FromStore reads the holders of a store with their pairs. What the store itself says of
// its pairs is computed again from what it keeps of them. through are the positions of its
// partitions.
func FromStore(ctx context.Context, name string, store projection.Reader, rules hold.Rules, partitions int) (check.Scores, error) {
	s := check.Scores{Name: name, Through: make([]uint64, partitions)}
	for p := range s.Through {
		c, _, err := store.Checkpoint(ctx, p)
		if err != nil {
			return s, fmt.Errorf("%s: partition %d: %w", name, p, err)
		}
		s.Through[p] = c.Position
	}
	s.Each = func(ctx context.Context, f func(*check.Holder) error) error {
		for p := range partitions {
			if err := eachOf(ctx, store, rules, p, f); err != nil {
				return fmt.Errorf("%s: partition %d: %w", name, p, err)
			}
		}
		return nil
	}
	return s, nil
}

func eachOf(ctx context.Context, store projection.Reader, rules hold.Rules, partition int, f func(*check.Holder) error) (err error) {
	view, err := store.View(ctx, partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	var at *check.Holder
	done := func() error {
		if at == nil {
			return nil
		}
		r, err := view.Holder(ctx, at.ID)
		if err != nil {
			return fmt.Errorf("holder %q: %w", at.ID, err)
		}
		at.Figures, at.Position, at.UpdatedAt = r.Figures, r.Position, r.UpdatedAt
		return f(at)
	}
	err = view.AllPairs(ctx, func(r *projection.PairRecord) error {
		if at == nil || at.ID != r.Key.Holder {
			if err := done(); err != nil {
				return err
			}
			at = &check.Holder{ID: strings.Clone(r.Key.Holder), Pairs: map[string]hold.Figures{}}
		}
		pair, err := r.Open()
		if err != nil {
			return fmt.Errorf("holder %q, token %q: %w", r.Key.Holder, r.Key.Token, err)
		}
		own := rules.Of(r.Key.Token).Figures(pair, r.Figures.Line.Since)
		if err := pair.Err(); err != nil {
			return fmt.Errorf("holder %q, token %q: %w", r.Key.Holder, r.Key.Token, err)
		}
		if own != r.Figures {
			at.Fault = fmt.Sprintf("the figures of token %q do not follow from its stored holds: the settled score is %s, and it should be %s", r.Key.Token, r.Figures.Settled.Score, own.Settled.Score)
		}
		at.Pairs[strings.Clone(r.Key.Token)] = own
		return nil
	})
	if err != nil {
		return err
	}
	return done()
}

// FromBucket reads the snapshots of a generation. The bucket says up to which position of
// each partition it has all of them; what it says is read before they are.
func FromBucket(ctx context.Context, js jetstream.JetStream, generation string, partitions int) (check.Scores, error) {
	name := projection.BucketName(generation)
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return check.Scores{}, fmt.Errorf("bucket %s: %w", name, err)
	}
	reached, err := projection.PublishedPositions(ctx, js, generation, partitions)
	if err != nil {
		return check.Scores{}, err
	}
	through := make([]uint64, partitions)
	for p, to := range reached {
		through[p] = to.Position
	}
	return check.Scores{Name: "snapshots of generation " + generation, Through: through, Each: func(ctx context.Context, f func(*check.Holder) error) error {
		watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
		if err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
		defer watch.Stop() //nolint:errcheck // it was only read
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case e, ok := <-watch.Updates():
				if !ok {
					return fmt.Errorf("bucket %s: the broker stopped sending before all was read", name)
				}
				if e == nil {
					return nil // that was all
				}
				if err := snapshot(e, f); err != nil {
					return fmt.Errorf("bucket %s: %w", name, err)
				}
			}
		}
	}}, nil
}

func snapshot(e jetstream.KeyValueEntry, f func(*check.Holder) error) error {
	if strings.Contains(e.Key(), ".") {
		return nil // of the bucket itself
	}
	id, err := ingest.HolderOf(e.Key())
	if err != nil {
		return err
	}
	s, err := projection.ReadSnapshot(e.Value())
	if err == nil && string(s.Holder) != id {
		err = fmt.Errorf("it is of holder %q", s.Holder)
	}
	if err != nil {
		return fmt.Errorf("holder %q: %w", id, err)
	}
	return f(&check.Holder{ID: id, Figures: hold.Figures{Settled: s.Settled, Line: s.Line, Waiting: unknown}, Position: s.Position, UpdatedAt: s.UpdatedAt})
}

// unknown waiting facts are not compared.
const unknown = check.UnknownWaiting
