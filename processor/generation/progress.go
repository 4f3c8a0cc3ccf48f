package generation

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/processor"
)

// report reports how far this process is with what is being built, and with all also
// with what is built.
func (s *Supervisor) report(ctx context.Context, all bool) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, name := range s.Names() {
		s.mu.Lock()
		m := s.members[name]
		if m == nil || m.record.Built && !all {
			s.mu.Unlock()
			continue
		}
		record, open := m.record, m.open
		progress := Progress{Worker: s.cfg.ID, DeadLetters: m.deadLetters && open != nil}
		if m.lastErr != nil {
			progress.LastError = m.lastErr.Error()
		}
		s.mu.Unlock()
		mine := true
		if open != nil {
			for _, status := range open.Worker.Status() {
				p := progressOf(&status, &record)
				mine = mine && p.Built()
				progress.Partitions = append(progress.Partitions, p)
			}
		}
		err := s.cfg.Registry.PutProgress(ctx, name, progress, reportTTL)
		if err == nil && mine && open != nil && !record.Built {
			err = s.built(ctx, name)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("cannot report progress; retrying", zap.String("generation", name), zap.Error(err))
		}
	}
}

// built records that a generation is built, if all workers report so.
func (s *Supervisor) built(ctx context.Context, name string) error {
	all, err := s.cfg.Registry.Progress(ctx, name)
	if err != nil || !Built(all, s.cfg.Worker.Log.Partitions()) {
		return err
	}
	return s.cfg.Registry.Change(ctx, name, func(r *Record) error {
		r.Built = true
		return nil
	})
}

// progressOf returns how far a partition is.
//
// Its goal is its last position up to the generation's goal. If the log's last position
// of the partition is not past the generation's goal, it is that. Otherwise something past
// the goal will be applied, and the generation's goal serves as well. In a generation that
// ends (Until) nothing past it is applied, and the partition knows when it is done.
func progressOf(s *processor.PartitionStatus, r *Record) PartitionProgress {
	p := PartitionProgress{
		Partition: s.Partition, Position: s.Position, Goal: min(s.End, r.Goal),
		Events: s.Events, Rejected: s.Rejected, Excluded: s.Excluded,
	}
	switch {
	case s.State == processor.Loading:
		p.Goal = max(r.Goal, 1) // not known yet
	case s.Done:
		p.Goal = s.Position
	case r.Until != 0 && s.End > r.Until:
		p.Goal = max(r.Until, p.Position+1)
	}
	if min(s.Checkpoint, s.Published) < p.Goal {
		p.Position = min(p.Position, p.Goal-1)
	}
	switch {
	case s.Err != nil:
		p.LastError = s.Err.Error()
	case s.LastError != nil:
		p.LastError = s.LastError.Error()
	}
	if s.State == processor.Failed {
		p.Goal = max(p.Goal, p.Position+1) // it is not built and will not be
	}
	return p
}
