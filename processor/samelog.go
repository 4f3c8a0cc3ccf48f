package processor

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"holdmetrics/internal/backoff"
)

const (
	// lookEvery is how often a worker looks whether the log is still the one that it
	// reads. A partition without events would not notice otherwise.
	lookEvery = 5 * time.Second
	// lookWithin bounds one look. Where the log is away, so is whatever could be
	// wrong with it.
	lookWithin = 2 * time.Second
)

// sureAfter is how long the log has to say that it is shorter than what was applied,
// or gone, until that is believed. A broker that led the log, slept and wakes
// answers with what it had then, until it hears that the others have another
// leader by now, which takes a second or two; and to stop a partition for good
// because of that would be wrong. It is longer than an election takes.
const sureAfter = 15 * time.Second

// lookAgain is the pause between two looks at a log that is doubted.
const lookAgain = 200 * time.Millisecond

// doubt is what is thought of the log since something spoke against it.
type doubt struct{ since time.Time }

// weigh takes the answer of a look, and gives it back as an error where it is to
// be believed; believed is true as well where nothing speaks against the log.
func (d *doubt) weigh(wrong error, sure time.Duration) (err error, believed bool) {
	var foreign *ForeignLogError
	switch now := time.Now(); {
	case wrong == nil:
		*d = doubt{}
		return nil, true
	case errors.As(wrong, &foreign) && foreign.ID != noLog:
		return wrong, true // no leader ever had it under this id
	case d.since.IsZero():
		d.since = now
		return wrong, sure <= 0
	default:
		return wrong, now.Sub(d.since) >= sure
	}
}

// noLog is the id of a log that does not exist.
const noLog = "none"

// sameLog says what is wrong with the log, as a [*ForeignLogError] or a
// [*LogShorterError], where it is not the one that a partition has been reading up
// to a position. What was read before the look is of the right log then: a log that
// was created again has another id for good. It returns nil if nobody answers. A
// log that was doubted is looked at until it is clear.
func (s *scope) sameLog(ctx context.Context, position uint64) error {
	var d doubt
	for {
		within, cancel := context.WithTimeout(ctx, lookWithin)
		id, last, err := s.log.Look(within)
		cancel()
		switch {
		case err != nil && d.since.IsZero():
			return nil
		case err == nil:
			wrong := compareLog(s.log, s.id, position, id, last)
			if err, believed := d.weigh(wrong, s.cfg.sureAfter); believed {
				s.board.lastError(doubtful, err)
				return err
			}
			s.board.lastError(doubtful, wrong)
		}
		if err := backoff.Wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// doubtful is what a partition is at whose log says what cannot be.
const doubtful = "make sure of the log"

// end is the end of the partition, and whether the log has the position that is
// known to have been applied. Where it has not it is asked again until it is sure;
// see sureAfter.
//
// The position may lie behind the end of the partition where rules normalise
// holders: every partition of such a generation once read the whole log.
func (s *scope) end(ctx context.Context, applied uint64) (end uint64, has bool, err error) {
	for began := time.Now(); ; {
		err = s.retry(ctx, "read the end of the log", func(ctx context.Context) (err error) {
			if end, err = s.log.End(ctx, s.id); err != nil {
				return err
			}
			has = end >= applied
			if !has && s.cfg.Rules.NormalisesHolders() {
				_, last, err := s.log.Look(ctx)
				has = last >= applied
				return err
			}
			return nil
		})
		if err != nil || has {
			s.board.lastError(doubtful, nil)
			return end, has, err
		}
		if time.Since(began) >= s.cfg.sureAfter {
			return end, false, nil
		}
		s.board.lastError(doubtful, &LogShorterError{Partition: s.id, Checkpoint: applied, End: end})
		if err := backoff.Wait(ctx, lookAgain); err != nil {
			return 0, false, err
		}
	}
}

func compareLog(log eventLog, partition int, position uint64, id string, last uint64) error {
	switch {
	case id != log.ID():
		if id == "" {
			id = noLog
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
	doubts := map[*partition]*doubt{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		partitions := w.running()
		positions := make([]uint64, len(partitions)) // before the look: they go on
		for i, p := range partitions {
			s, _ := p.board.snapshot()
			positions[i] = s.Position
		}
		within, cancel := context.WithTimeout(ctx, lookWithin)
		id, last, err := w.log.Look(within)
		cancel()
		if err != nil {
			w.cfg.Logger.Debug("the log could not be looked at", zap.Error(err))
			continue
		}
		was := doubts
		doubts = map[*partition]*doubt{}
		for i, p := range partitions {
			d := was[p]
			if d == nil {
				d = &doubt{}
			}
			err, believed := d.weigh(compareLog(w.log, p.id, positions[i], id, last), w.cfg.sureAfter)
			if err == nil {
				continue
			}
			doubts[p] = d
			if !believed {
				continue
			}
			select {
			case p.wrongLog <- err:
			default:
			}
		}
	}
}
