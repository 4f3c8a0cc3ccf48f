package mongo

import (
	"context"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

// Drop removes the collections of the store's generation, with all that is in
// them. Nobody may use them any more, in this process or another one: a flush that
// came later would make them again. Dropping what is gone is no error, so that one
// which was interrupted is simply repeated. Close the store afterwards.
func (s *Store) Drop(ctx context.Context) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	// hold_meta is the last: while it is there, the others are known to be ours.
	for _, c := range []*driver.Collection{s.events, s.pairs, s.stats, s.sealed, s.checkpoints, s.meta} {
		if err := s.try(ctx, "drop "+c.Name(), func(ctx context.Context) error { return c.Drop(ctx) }); err != nil {
			return err
		}
	}
	return nil
}
