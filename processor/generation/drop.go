package generation

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// removeLeftovers removes what this process keeps of generations that were dropped while
// it did not run.
func (s *Supervisor) removeLeftovers(ctx context.Context) {
	kept, err := s.cfg.Stores.Local()
	if err == nil && len(kept) > 0 {
		var all []Record
		if all, err = s.cfg.Registry.List(ctx); err == nil {
			known := map[string]bool{}
			for _, r := range all {
				known[r.Name] = true
			}
			for _, name := range kept {
				if !known[name] {
					s.log.Info("removing leftovers of a dropped generation", zap.String("generation", name))
					if err = s.cfg.Stores.RemoveLocal(ctx, name); err != nil {
						break
					}
				}
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot remove leftovers of dropped generations", zap.Error(err))
	}
}

// drop continues with the generations that are being dropped.
func (s *Supervisor) drop(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, busy := range s.dropped {
		if busy || s.members[name] != nil {
			continue
		}
		s.dropped[name] = true
		s.running.Go(func() {
			within, cancel := context.WithTimeout(ctx, dropFor)
			defer cancel()
			switch err := s.dropOne(within, name); {
			case err == nil:
				s.log.Info("generation dropped", zap.String("generation", name))
			case ctx.Err() == nil:
				s.log.Warn("cannot drop a generation; retrying", zap.String("generation", name), zap.Error(err))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, there := s.dropped[name]; there {
				s.dropped[name] = false
			}
		})
	}
}

// dropOne removes what this process keeps of a generation. If no other process works on
// it any more, it also removes what they shared, and at last the record: whatever
// interrupts this, some process continues while there is a record.
func (s *Supervisor) dropOne(ctx context.Context, name string) error {
	if err := s.cfg.Stores.RemoveLocal(ctx, name); err != nil {
		return err
	}
	unlock, locked, err := s.cfg.Registry.Lock(ctx, name, dropFor)
	if err != nil || !locked {
		return err
	}
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_ = unlock(within) // otherwise it expires
	}()
	r, err := s.cfg.Registry.Get(ctx, name)
	if errors.Is(err, ErrUnknown) {
		return nil // another process was faster
	}
	if err != nil || !r.Dropped {
		return err
	}
	working, err := s.cfg.Registry.Progress(ctx, name)
	if err != nil || len(working) > 0 {
		return err
	}
	if err := s.cfg.Stores.RemoveShared(ctx, name); err != nil {
		return err
	}
	js := s.cfg.Worker.Log.JetStream()
	if err := projection.DropSnapshots(ctx, js, name); err != nil {
		return err
	}
	if err := lease.Drop(ctx, js, name); err != nil {
		return err
	}
	if err := s.cfg.Registry.Remove(ctx, name); err != nil {
		return fmt.Errorf("the generation is removed, but not its record: %w", err)
	}
	return nil
}
