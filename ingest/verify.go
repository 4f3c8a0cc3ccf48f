package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Fault is a fault that Verify found in the log.
type Fault struct {
	Position  uint64 // 0: it is about the log as a whole
	Partition int
	Index     int
	Reason    string
}

// PartitionCount is what a partition of the log has.
type PartitionCount struct {
	Partition               int
	Messages, Events, Bytes uint64
	Refused                 uint64 // events, and what is none, that do not count; each has its dead letter
	First, Last             uint64 // position; 0: it is empty
	Horizon                 int64  // up to which it is sealed; 0: it is not
}

// Verify reads the log, or one partition of it (all: -1), and says what it has. It
// calls report for everything that is not as it should be:
//
//   - The stream does not begin with position 1, lacks a message, or cannot read one,
//     unless that was accepted as lost.
//   - An imported message does not say what time it had.
//   - A partition is not sealed up to the horizon that the settings name.
//   - A message or an event is refused, and has no dead letter: no processor has
//     applied it yet, or the dead letters were deleted.
//
// An event refused with a dead letter, open or resolved, was refused properly: anyone
// may publish to the log, and nothing is lost. It is counted. Settings that could lose
// messages are the *LogSettingsError of FindLog. progress, which may be nil, is called
// with each message.
func (l *Log) Verify(ctx context.Context, partition int, report func(Fault), progress func(position uint64)) ([]PartitionCount, error) {
	horizon := l.Horizon() // before it is looked where the log ends, which has its seals then
	info, err := l.events.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ingest: verify the log: %w", err)
	}
	state := info.State
	if err := l.openLost(&info.Config); err != nil {
		return nil, err
	}
	accepted := uint64(0)
	for _, s := range l.LostPositions() {
		accepted += s.Last - s.First + 1
	}
	if state.LastSeq > 0 && state.FirstSeq != 1 && !l.covered(Span{1, state.FirstSeq - 1}) {
		report(Fault{Reason: fmt.Sprintf("the stream begins with position %d: what was before is lost", state.FirstSeq)})
	}
	if uint64(state.NumDeleted) > accepted {
		report(Fault{Reason: fmt.Sprintf("%d messages were deleted from the stream", state.NumDeleted)})
	}
	counts := make([]PartitionCount, l.partitions)
	for p := range counts {
		counts[p].Partition = p
	}
	within := Range{To: state.LastSeq, Gaps: true}
	if partition >= 0 {
		within.Partitions = []int{partition}
		counts = counts[partition : partition+1]
	}
	if state.LastSeq == 0 {
		return counts, nil
	}
	refused := map[deadLetterKey]string{}
	next := max(state.FirstSeq, 1)
	missing := func(through uint64) {
		within := Span{next, through}
		for _, s := range without([]Span{within}, l.LostPositions(), within) {
			report(Fault{Position: s.First, Partition: -1, Reason: fmt.Sprintf("positions %d to %d are missing", s.First, s.Last)})
		}
	}
	for m, err := range l.Read(ctx, within) {
		if err != nil {
			return nil, err
		}
		if partition < 0 {
			missing(m.Position - 1)
			next = m.Position + 1
		}
		if err := l.verifyMessage(ctx, m, &counts[max(0, m.Partition-counts[0].Partition)], refused, report); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(m.Position)
		}
	}
	if partition < 0 {
		missing(state.LastSeq)
	}
	for i := range counts {
		if c := &counts[i]; c.Horizon < horizon {
			report(Fault{Partition: c.Partition, Reason: fmt.Sprintf("partition %d is not sealed up to %[2]s, as the settings have it; 'holdmetrics seal --before %[2]s' completes it",
				c.Partition, time.Unix(0, horizon).UTC().Format(time.RFC3339Nano))})
		}
	}
	return counts, l.DeadLetters().missing(ctx, refused, report)
}

func (l *Log) verifyMessage(ctx context.Context, m *Message, count *PartitionCount, refused map[deadLetterKey]string, report func(Fault)) error {
	if count.First == 0 {
		count.First = m.Position
	}
	count.Last = m.Position
	count.Messages++
	count.Bytes += uint64(len(m.Data))
	if note := l.imported.Load(); note != nil && m.Position <= note.Through {
		if _, ok := note.timeOf(m.Position, m.Header); !ok {
			report(Fault{Position: m.Position, Partition: m.Partition, Reason: "it was imported, and does not say what time it had"})
		}
	}
	if IsSeal(m.Data) {
		horizon, err, asked := l.JudgeSeal(ctx, m)
		if asked != nil {
			return asked
		}
		if err == nil {
			count.Horizon = max(count.Horizon, horizon)
			return nil
		}
		count.Events++
		count.Refused++
		refused[deadLetterKey{m.Position, m.Partition, 0}] = err.Error()
	}
	for e := range m.Entries() {
		count.Events++
		if _, err := l.Judge(m, &e); err != nil {
			count.Refused++
			refused[deadLetterKey{m.Position, m.Partition, e.Index}] = err.Error()
		}
	}
	return nil
}

// letterKey identifies a dead letter.
type deadLetterKey struct {
	sequence         uint64
	partition, index int
}

// missing reports what was refused and has no dead letter. Dead letters are read
// after the log, so that the processor has had that long to apply it.
func (s DeadLetters) missing(ctx context.Context, refused map[deadLetterKey]string, report func(Fault)) error {
	if len(refused) == 0 {
		return nil
	}
	for d, err := range s.All(ctx) {
		if err != nil {
			return err
		}
		if !d.otherLog(s.log.id) {
			delete(refused, deadLetterKey{d.Sequence, d.Partition, d.Index})
		}
	}
	left := slices.SortedFunc(maps.Keys(refused), func(a, b deadLetterKey) int {
		return cmp.Or(cmp.Compare(a.sequence, b.sequence), cmp.Compare(a.index, b.index))
	})
	for _, d := range left {
		report(Fault{Position: d.sequence, Partition: d.partition, Index: d.index,
			Reason: refused[d] + "; no dead letter says so: it is not applied yet, or the dead letters were deleted"})
	}
	return nil
}

// Check reports whether the stream of dead letters is as it should be; the error
// matches ErrLogSettings where it is not. That there is none yet is no error.
func (s DeadLetters) Check(ctx context.Context) error {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingest: stream %s: %w", DeadLetterStream, err)
	}
	have := stream.CachedInfo().Config
	return checkDeadLetters(&have)
}
