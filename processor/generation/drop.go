package generation

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// leaveKept removes what this process keeps of generations that are no more: they
// were dropped while it did not run.
func (s *Supervisor) leaveKept(ctx context.Context) {
	kept, err := s.cfg.Stores.Kept()
	if err == nil && len(kept) > 0 {
		var all []Record
		if all, err = s.cfg.Registry.List(ctx); err == nil {
			known := map[string]bool{}
			for _, r := range all {
				known[r.Name] = true
			}
			for _, name := range kept {
				if !known[name] {
					s.log.Info("removing what is left of a generation that was dropped", zap.String("generation", name))
					if err = s.cfg.Stores.Leave(ctx, name); err != nil {
						break
					}
				}
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("what is left of generations that were dropped cannot be removed", zap.Error(err))
	}
}

// drop goes on with the generations that are being dropped.
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
			if err := s.dropOne(within, name); err != nil && ctx.Err() == nil {
				s.log.Warn("a generation cannot be dropped; it is tried again", zap.String("generation", name), zap.Error(err))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, there := s.dropped[name]; there {
				s.dropped[name] = false
			}
		})
	}
}

// dropOne removes what this process keeps of a generation, and, where no other
// process has anything to do with it any more, what they shared, and the record.
// The record is the last, so that whatever interrupts this, somebody goes on.
func (s *Supervisor) dropOne(ctx context.Context, name string) error {
	if err := s.cfg.Stores.Leave(ctx, name); err != nil {
		return err
	}
	unlock, locked, err := s.cfg.Registry.Lock(ctx, name, dropFor)
	if err != nil || !locked {
		return err
	}
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_ = unlock(within) // else it is free in time
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
	if err := s.cfg.Stores.Drop(ctx, name); err != nil {
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
		return fmt.Errorf("the generation is gone, and its record is not: %w", err)
	}
	return nil
}
