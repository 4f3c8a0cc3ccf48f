package generation

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/processor"
)

// report tells how far this process is with what is being built; with all, also
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
		progress := Progress{Worker: s.cfg.ID, Letters: m.letters && open != nil}
		if m.trouble != nil {
			progress.Trouble = m.trouble.Error()
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
		err := s.cfg.Registry.PutProgress(ctx, name, progress, toldFor)
		if err == nil && mine && open != nil && !record.Built {
			err = s.built(ctx, name)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("progress cannot be told; it is told again", zap.String("generation", name), zap.Error(err))
		}
	}
}

// built notes that a generation is built, where all workers say so.
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

// progressOf is how far a partition is.
//
// Its goal is its last position up to the generation's. That one is known where the
// log's last position of the partition does not lie beyond; else something will be
// applied that does lie beyond, and the generation's goal is as good. Where nothing
// beyond is applied (Until), the partition knows when it is done.
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
		p.Trouble = s.Err.Error()
	case s.Trouble != nil:
		p.Trouble = s.Trouble.Error()
	}
	if s.State == processor.Failed {
		p.Goal = max(p.Goal, p.Position+1) // it is not built, and will not be
	}
	return p
}
