package processor

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// lookEvery is how often a worker looks whether the log is still the one that it
	// reads. A partition without events would not notice otherwise.
	lookEvery = 5 * time.Second
	// lookWithin bounds one look. Where the log is away, so is whatever could be
	// wrong with it.
	lookWithin = 2 * time.Second
)

// sameLog says what is wrong with the log, as a [*ForeignLogError] or a
// [*LogShorterError], where it is not the one that a partition has been reading up
// to a position. What was read before the look is of the right log then: a log that
// was made anew has another id for good. Where nobody answers nothing is said.
func sameLog(ctx context.Context, log eventLog, partition int, position uint64) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	id, last, err := log.Look(ctx)
	if err != nil {
		return nil
	}
	return compareLog(log, partition, position, id, last)
}

func compareLog(log eventLog, partition int, position uint64, id string, last uint64) error {
	switch {
	case id != log.ID():
		if id == "" {
			id = "none"
		}
		return &ForeignLogError{Partition: partition, Checkpoint: log.ID(), ID: id}
	case last < position:
		return &LogShorterError{Partition: partition, Checkpoint: position, End: last}
	}
	return nil
}

// watchLog looks at the log until ctx ends, and fails the partitions for which it
// is not the one that they read.
func (w *Worker) watchLog(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		partitions := w.running()
		positions := make([]uint64, len(partitions)) // before the look: they go on
		for i, p := range partitions {
			s, _ := p.snapshot()
			positions[i] = s.Position
		}
		within, cancel := context.WithTimeout(ctx, lookWithin)
		id, last, err := w.log.Look(within)
		cancel()
		if err != nil {
			w.cfg.Logger.Debug("the log could not be looked at", zap.Error(err))
			continue
		}
		for i, p := range partitions {
			if err := compareLog(w.log, p.id, positions[i], id, last); err != nil {
				select {
				case p.wrongLog <- err:
				default:
				}
			}
		}
	}
}
