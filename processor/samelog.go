package processor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/projection"
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
			if err, believed := d.weigh(wrong, sureAfterOf(s.log, s.cfg, wrong)); believed {
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
// holders: every partition of such a generation once read the whole log. It may lie there
// too where it was accepted as lost.
func (s *scope) end(ctx context.Context, applied uint64) (end uint64, has bool, err error) {
	for began := time.Now(); ; {
		err = s.retry(ctx, "read the end of the log", func(ctx context.Context) (err error) {
			if end, err = s.log.End(ctx, s.id); err != nil {
				return err
			}
			has = end >= applied
			if !has && (s.cfg.Rules.NormalisesHolders() || s.log.IsLost(applied)) {
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
		if !s.log.Replicated() || time.Since(began) >= s.cfg.sureAfter {
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
		damaged := w.lacks(ctx, 1)
		was := doubts
		doubts = map[*partition]*doubt{}
		for i, p := range partitions {
			d := was[p]
			if d == nil {
				d = &doubt{}
			}
			wrong := compareLog(w.log, p.id, positions[i], id, last)
			if wrong == nil && damaged != nil {
				wrong = w.lacks(ctx, positions[i]+1)
			}
			err, believed := d.weigh(wrong, sureAfterOf(w.log, &w.cfg, wrong))
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

// lacks returns what the server knows that it lacks from a position on; nil where nobody
// answers.
func (w *Worker) lacks(ctx context.Context, from uint64) error {
	within, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	if err := w.log.Whole(within, from); errors.Is(err, ingest.ErrLogDamaged) {
		return err
	}
	return nil
}

// sureAfterOf is how long the log has to say something that is wrong until it is
// believed. A log with one replica has no other leader. It may be away for a moment, but
// what it lacks is lost.
func sureAfterOf(log eventLog, cfg *Config, wrong error) time.Duration {
	if errors.Is(wrong, ingest.ErrLogDamaged) && !log.Replicated() {
		return 0
	}
	return cfg.sureAfter
}

// sure calls look until it finds no damage of the log, or has found some for as long as
// it takes to believe it.
func (s *scope) sure(ctx context.Context, look func(context.Context) error) error {
	for began := time.Now(); ; {
		err := s.retry(ctx, "compare the log with what was applied", look)
		if !errors.Is(err, ingest.ErrLogDamaged) || time.Since(began) >= sureAfterOf(s.log, s.cfg, err) {
			s.board.lastError(doubtful, nil)
			return err
		}
		s.board.lastError(doubtful, err)
		if err := backoff.Wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// stretch is the part of the log that a partition has to have read until it has what the
// log had when it started. What was applied of it, before and since, is compared with
// the log's own count at its end, since a server passes over a message that it cannot
// read. A checkpoint carries the count, so that a restart does not hide what was passed
// over.
type stretch struct {
	end      uint64 // its last position that can be read
	counted  uint64 // messages that were applied
	expected uint64 // messages by the log's count; fewer if it was too busy to be counted
	compared bool
}

// countStretch makes sure that the log still has the message of a checkpoint, and counts
// its messages. It returns the last position of the partition.
func (p *partition) countStretch(ctx context.Context, c *projection.Checkpoint) (end uint64, err error) {
	s := stretch{counted: c.Messages}
	err = p.sure(ctx, func(ctx context.Context) (err error) {
		if err := p.log.Has(ctx, ingest.Anchor{Position: c.Position, Hash: c.Hash}); err != nil {
			return err
		}
		if s.expected, end, err = p.log.CountAfter(ctx, p.id, 0); err != nil {
			return err
		}
		s.end = end
		behind := func(position uint64) (uint64, error) {
			n, _, err := p.log.CountAfter(ctx, p.id, position)
			return min(n, s.expected), err
		}
		if c.Messages == 0 && c.Position > 0 { // of an older program: what it applied is believed
			n, err := behind(c.Position)
			if err != nil {
				return err
			}
			s.counted = s.expected - n
		}
		if until := p.cfg.Until; until != 0 {
			n, err := behind(until)
			if err != nil {
				return err
			}
			s.expected, s.end = s.expected-n, min(s.end, until)
		}
		return p.log.Whole(ctx, c.Position+1)
	})
	if err != nil {
		return 0, p.fail("compare the log with the checkpoint", err)
	}
	p.mem.stretch, p.mem.messages = s, s.counted
	return end, nil
}

// compareStretch compares what was applied with the log's count, once all of the stretch
// is applied. Where it is less, the positions are read one by one, since a count may be
// wrong. What cannot be read fails the partition, unless it was accepted as lost.
func (p *partition) compareStretch(ctx context.Context) error {
	s := &p.mem.stretch
	if s.compared || p.mem.position < s.end && !p.feed.done {
		return nil
	}
	if s.counted < s.expected {
		p.board.applying()
		err := p.sure(ctx, func(ctx context.Context) error {
			_, last, err := p.log.Look(ctx)
			if err != nil {
				return err
			}
			return p.log.Check(ctx, ingest.Span{First: 1, Last: min(last, p.cfg.until())})
		})
		if err != nil {
			return p.fail("read the log", err)
		}
		p.mem.messages += s.expected - s.counted // which is not to be looked for again
	} else if s.counted > s.expected && p.log.Accepted() {
		p.mem.messages -= s.counted - s.expected // the log has lost what was applied
	}
	s.compared = true
	p.note()
	return nil
}

// Damaged returns the damage of the log that failed a partition, or nil. It matches
// [ingest.ErrLogDamaged].
func (w *Worker) Damaged() error {
	for _, p := range w.running() {
		if s, _ := p.board.snapshot(); s.State == Failed && errors.Is(s.Err, ingest.ErrLogDamaged) {
			return s.Err
		}
	}
	return nil
}

// CheckLog returns an error unless the log still has what a store was made from: it
// matches [ingest.ErrLogDamaged] if the log is shorter or has other messages, and
// [ErrForeignLog] if it is another log. It reads one message a partition, and is for
// servers that take events before the partitions are read.
func CheckLog(ctx context.Context, log *ingest.Log, store projection.Reader) error {
	checkpoints := make([]projection.Checkpoint, log.Partitions())
	for p := range checkpoints {
		var err error
		if checkpoints[p], _, err = store.Checkpoint(ctx, p); err != nil {
			return fmt.Errorf("processor: partition %d: read the checkpoint: %w", p, err)
		}
	}
	id, last, err := log.Look(ctx) // after the checkpoints, which go on
	if err != nil {
		return err
	}
	for p, c := range checkpoints {
		if c.LogID == "" {
			continue // never flushed
		}
		if c.LogID != log.ID() {
			return &ForeignLogError{Partition: p, Checkpoint: c.LogID, ID: log.ID()}
		}
		if err := compareLog(jetStreamLog{Log: log}, p, c.Position, id, last); err != nil {
			return err
		}
		if err := log.Has(ctx, ingest.Anchor{Position: c.Position, Hash: c.Hash}); err != nil {
			return fmt.Errorf("processor: partition %d: compare the log with the checkpoint: %w", p, err)
		}
	}
	return nil
}

// CheckSnapshots returns an error that matches [ingest.ErrLogDamaged] if the snapshots of
// a generation were made from messages that the log does not have. A store that was
// deleted, or is older, knows nothing of those. It is for a log and a bucket that were
// always kept together.
func CheckSnapshots(ctx context.Context, log *ingest.Log, generation string) error {
	if log.Accepted() {
		return nil
	}
	reached, err := projection.PublishedPositions(ctx, log.JetStream(), generation, log.Partitions())
	if errors.Is(err, projection.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, last, err := log.Look(ctx) // after the positions, which go on
	if err != nil {
		return err
	}
	for p, r := range reached {
		if r.Position > last {
			return &LogShorterError{Partition: p, Checkpoint: r.Position, End: last, Bucket: projection.BucketName(generation)}
		}
		if r.Position == 0 || r.LogTime == 0 {
			continue
		}
		// The partition's time is that of its latest message up to there.
		m, err := log.Message(ctx, r.Position)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // which is for the partition to find
		case err != nil:
			return err
		case m.Time > r.LogTime:
			return fmt.Errorf("processor: partition %d: compare the log with bucket %s: %w", p, projection.BucketName(generation), &ingest.ReplacedError{Position: r.Position, Time: m.Time})
		}
	}
	return nil
}
