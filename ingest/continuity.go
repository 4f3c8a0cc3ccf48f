package ingest

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/consumer"
)

// The positions of a log have no gaps: its stream deletes nothing, expires nothing, and
// gives positions to messages alone. Duplicates that the server drops, dead letters,
// seals and imports take no positions of their own. So a position that is missing, or
// a message that differs from the one that was applied, is damage.
//
// Three things hide such damage:
//
//   - A server skips a message whose checksum does not match, without a word, and its
//     count of messages still includes it.
//   - A server that starts with a damaged block cuts the block off there. In the middle
//     of the log that leaves a gap. At its end, new messages take the positions of the
//     lost ones.
//   - A server that cannot read a block at all delivers nothing from there on.
//
// So readers compare what they were given with the server's count (see [Log.CountAfter])
// and go on behind a message only if the log still has it (see [Log.Has]).
//
// Positions that an operator has accepted as lost are named in the settings of the
// stream, and are no damage any more.
const metaLost = "holdmetrics_lost"

// mostDetails is how many missing positions the server is asked to list.
const mostDetails = 50_000

// Anchor is a message that a reader of the log has applied. The zero value is none.
type Anchor struct {
	Position uint64
	Hash     uint64 // as HashOf gives it; 0: not known
}

// HashOf returns the hash of a message of the log: of its time, whether it is JSON, and
// its data. It is never 0, and the same in every copy of the log.
func HashOf(at int64, isJSON bool, data []byte) uint64 {
	var head [9]byte
	binary.LittleEndian.PutUint64(head[:], uint64(at))
	if isJSON {
		head[8] = 1
	}
	d := xxhash.New()
	_, _ = d.Write(head[:]) // never fails
	_, _ = d.Write(data)
	return max(d.Sum64(), 1)
}

// Span is a run of positions of the log.
type Span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// String returns the positions in words.
func (s Span) String() string {
	if s.Last <= s.First {
		return fmt.Sprintf("position %d", s.First)
	}
	return fmt.Sprintf("positions %d to %d", s.First, s.Last)
}

// Lost are positions whose messages are lost by an operator's decision.
type Lost struct {
	Span
	At       time.Time `json:"at"`                 // when that was decided
	Restored uint64    `json:"restored,omitempty"` // how many of the messages were sent again from a backup
}

// GapError names positions whose messages are missing or cannot be read. It matches
// ErrLogDamaged.
type GapError struct {
	Span            // of the first gap
	Gaps     int    // how many there are
	Messages uint64 // that are missing in all of them
}

// Error names the first gap, and what an operator can do.
func (e *GapError) Error() string {
	where := e.Span.String()
	if e.Gaps > 1 {
		where += fmt.Sprintf(" and %d more gaps, %d messages in all,", e.Gaps-1, e.Messages)
	}
	return fmt.Sprintf("%v: %s cannot be read: 'holdmetrics log repair' names what is lost, and restores it from a backup", ErrLogDamaged, where)
}

// Is makes the error match ErrLogDamaged.
func (e *GapError) Is(target error) bool { return target == ErrLogDamaged }

// ReplacedError is the error of a log that has another message at a position than the
// one that was applied. It matches ErrLogDamaged.
type ReplacedError struct {
	Position uint64
	Time     int64 // ns, the log's time of the message that is there now
}

// Error names the position, and what an operator can do.
func (e *ReplacedError) Error() string {
	return fmt.Sprintf("%v: position %d has another message than the one that was applied, of %s: the log lost its end, and new events took the positions: 'holdmetrics log repair' names what is lost, and restores it from a backup",
		ErrLogDamaged, e.Position, time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano))
}

// Is makes the error match ErrLogDamaged.
func (e *ReplacedError) Is(target error) bool { return target == ErrLogDamaged }

// Continuity is the part of a [Log] that finds damage, and knows what was accepted as
// lost. It is safe for concurrent use.
type Continuity struct {
	log        *Log
	replicated atomic.Bool              // it has several replicas
	lost       atomic.Pointer[[]Lost]   // accepted as lost
	damage     atomic.Pointer[GapError] // the first that was found; nil: none
}

// Replicated reports whether the log has several replicas, so that an answer may be that
// of a server which does not know yet that it is no longer the leader.
func (l *Continuity) Replicated() bool { return l.replicated.Load() }

// Damage returns the damage of the log that this process knows of, or nil. It matches
// ErrLogDamaged.
func (l *Continuity) Damage() error {
	if e := l.damage.Load(); e != nil && !l.covered(e.Span) {
		return e
	}
	return nil
}

// LostPositions are those that an operator has accepted as lost, ascending.
func (l *Continuity) LostPositions() []Lost {
	if lost := l.lost.Load(); lost != nil {
		return *lost
	}
	return nil // of an import under way
}

// Accepted reports whether positions were accepted as lost, and no other damage of the log
// is known.
func (l *Continuity) Accepted() bool { return len(l.LostPositions()) > 0 && l.Damage() == nil }

// IsLost reports whether a position was accepted as lost.
func (l *Continuity) IsLost(position uint64) bool { return l.covered(Span{position, position}) }

// lostAt returns the accepted positions that have one among them, or nil.
func (l *Continuity) lostAt(position uint64) *Lost {
	for _, lost := range l.LostPositions() {
		if lost.First <= position && position <= lost.Last {
			return &lost
		}
	}
	return nil
}

// BehindLost returns the first position behind those that were accepted as lost at
// position or behind it, or position itself if there are none.
func (l *Continuity) BehindLost(position uint64) uint64 {
	for _, lost := range l.LostPositions() {
		if lost.Last >= position {
			return lost.Last + 1
		}
	}
	return position
}

// covered reports whether all positions of a span were accepted as lost.
func (l *Continuity) covered(s Span) bool {
	for _, lost := range l.LostPositions() {
		if lost.First <= s.First && s.First <= lost.Last {
			if s.Last <= lost.Last {
				return true
			}
			s.First = lost.Last + 1
		}
	}
	return false
}

// without returns the positions of gaps that were not accepted as lost, within a span.
func without(gaps []Span, lost []Lost, within Span) (left []Span) {
	for _, g := range gaps {
		g.First, g.Last = max(g.First, within.First), min(g.Last, within.Last)
		for _, l := range lost {
			if g.First > g.Last {
				break
			}
			if l.Last < g.First || l.First > g.Last {
				continue
			}
			if l.First > g.First {
				left = append(left, Span{g.First, l.First - 1})
			}
			g.First = l.Last + 1
		}
		if g.First <= g.Last {
			left = append(left, g)
		}
	}
	return left
}

// gapError is the error of some gaps, or nil if there are none.
func gapError(gaps []Span) error {
	if len(gaps) == 0 {
		return nil
	}
	e := &GapError{Span: gaps[0], Gaps: len(gaps)}
	for _, g := range gaps {
		e.Messages += g.Last - g.First + 1
	}
	return e
}

// note keeps damage that was found, for Damage.
func (l *Continuity) note(err error) error {
	var gap *GapError
	if errors.As(err, &gap) {
		l.damage.CompareAndSwap(nil, gap)
	}
	return err
}

// Whole returns an error that matches ErrLogDamaged if the server knows that it lacks
// messages at a position or behind it, other than those accepted as lost. It asks the
// leader, and reads no message, so damage that the server has not met is not found.
func (l *Continuity) Whole(ctx context.Context, from uint64) error {
	info, err := l.log.info(ctx)
	if err != nil {
		return fmt.Errorf("ingest: look at the log: %w", err)
	}
	if err := l.openLost(&info.Config); err != nil {
		return err
	}
	state := info.State
	missing := state.LastSeq - state.Msgs
	if missing == 0 {
		return nil
	}
	gaps, lost := []Span{{1, state.FirstSeq - 1}}, l.LostPositions()
	if state.Msgs == 0 {
		gaps[0].Last = state.LastSeq
	}
	switch {
	case state.NumDeleted == 0:
	case state.NumDeleted <= mostDetails:
		details, err := l.log.events.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return fmt.Errorf("ingest: list what the log lacks: %w", err)
		}
		for _, p := range details.State.Deleted {
			if last := &gaps[len(gaps)-1]; last.Last+1 == p {
				last.Last = p
			} else {
				gaps = append(gaps, Span{p, p})
			}
		}
	default:
		accepted := uint64(0)
		for _, s := range lost {
			accepted += s.Last - s.First + 1
		}
		if missing > accepted {
			gaps = append(gaps, Span{state.FirstSeq, state.LastSeq})
		}
	}
	if gaps[0].Last == 0 {
		gaps = gaps[1:]
	}
	return l.note(gapError(without(gaps, lost, Span{max(from, 1), state.LastSeq})))
}

// Has returns nil if the log still has a message that was applied, or if its position
// was accepted as lost. Otherwise the error matches ErrLogDamaged.
func (l *Continuity) Has(ctx context.Context, a Anchor) error {
	if a.Position == 0 || a.Hash == 0 || l.covered(Span{a.Position, a.Position}) {
		return nil
	}
	m, err := l.log.Message(ctx, a.Position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l.note(gapError([]Span{{a.Position, a.Position}}))
	}
	if err != nil {
		return err
	}
	if HashOf(m.Time, m.JSON, m.Data) != a.Hash {
		return &ReplacedError{a.Position, m.Time}
	}
	return nil
}

// countTries is how often a count is tried again because messages came meanwhile.
const countTries = 10

// CountAfter returns how many messages a partition, or Everywhere, has behind a position,
// by the server's index, and the last position of those that can be read; 0: none. The
// index includes messages that the server cannot read. If messages come meanwhile again
// and again, it counts some of those up to the last position less.
func (l *Continuity) CountAfter(ctx context.Context, partition int, after uint64) (messages, last uint64, err error) {
	subject := logSubjectPrefix + "*"
	if partition != Everywhere {
		subject = LogSubject(partition)
	}
	for range countTries {
		before, err := l.total(ctx, subject)
		if err == nil && before == 0 {
			return 0, 0, nil
		}
		var counting jetstream.Consumer
		if err == nil {
			counting, err = l.log.js.CreateConsumer(ctx, StreamName, consumer.From(after+1, "a count of what is to be read", subject, behindIdle))
		}
		if err != nil {
			return 0, 0, fmt.Errorf("ingest: count what is behind position %d under %s: %w", after, subject, err)
		}
		consumer.Drop(ctx, l.log.js, StreamName, counting, behindIdle)
		messages = counting.CachedInfo().NumPending
		raw, err := l.log.events.GetLastMsgForSubject(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			last = 0
		case err != nil:
			return 0, 0, fmt.Errorf("ingest: end of %s: %w", subject, err)
		default:
			last = raw.Sequence
		}
		now, err := l.total(ctx, subject)
		if err != nil {
			return 0, 0, fmt.Errorf("ingest: count what is behind position %d under %s: %w", after, subject, err)
		}
		if before == now {
			break
		}
	}
	return messages, last, nil
}

// total is how many messages the server's index has under a subject.
func (l *Continuity) total(ctx context.Context, subject string) (n uint64, err error) {
	info, err := l.log.events.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, err
	}
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return n, nil
}

// Check reads the positions of a span, and returns an error that matches ErrLogDamaged if
// some are missing or cannot be read that were not accepted as lost. It sends nothing but
// headers; still it takes a while where the span is long.
func (l *Continuity) Check(ctx context.Context, within Span) error {
	within.First = max(within.First, 1)
	if within.First > within.Last {
		return nil
	}
	gaps, err := l.Unreadable(ctx, within)
	if err == nil {
		err = l.note(gapError(gaps))
	}
	return err
}

// Unreadable is Check for who needs all positions: it returns those that are missing or
// cannot be read, and were not accepted as lost, ascending.
func (l *Continuity) Unreadable(ctx context.Context, within Span) ([]Span, error) {
	gaps, err := l.gaps(ctx, within)
	return without(gaps, l.LostPositions(), within), err
}

// JoinSpans sorts spans, and joins those that touch.
func JoinSpans(spans []Span) (joined []Span) {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	for _, s := range spans {
		if n := len(joined); n > 0 && s.First <= joined[n-1].Last+1 {
			joined[n-1].Last = max(joined[n-1].Last, s.Last)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// gaps returns the positions of a span that are not delivered.
func (l *Continuity) gaps(ctx context.Context, within Span) (gaps []Span, err error) {
	next := within.First
	d := delivery{js: l.log.js, stream: l.log.events, name: StreamName, subjects: []string{logSubjectPrefix + "*"}, patience: l.log.patience, headersOnly: true}
	for next <= within.Last {
		err = d.run(ctx, next, within.Last, func(_ jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
			if at := meta.Sequence.Stream; at > next {
				gaps = append(gaps, Span{next, at - 1})
			}
			next = meta.Sequence.Stream + 1
			return true, nil
		})
		if err == nil && next <= within.Last {
			// Behind a block that the server cannot read at all it delivers nothing.
			begin := next
			if next, err = l.readable(ctx, next, within.Last); next > begin {
				gaps = append(gaps, Span{begin, next - 1})
			} else if err == nil {
				err = fmt.Errorf("%w: position %d", ErrSilent, next)
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("ingest: check positions %d to %d of the log: %w", within.First, within.Last, err)
		}
	}
	return gaps, nil
}

// readable returns the first position from one on whose message can be read, or the one
// behind last. It asks for one after the other.
func (l *Continuity) readable(ctx context.Context, from, last uint64) (uint64, error) {
	for ; from <= last; from++ {
		_, err := l.log.events.GetMsg(ctx, from)
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return from, err
		}
	}
	return from, nil
}

// CountReadable reads all messages of a stream of any name, without their data, and returns
// how many there are. A server passes over messages that it cannot read, so there may be
// fewer than it says.
func CountReadable(ctx context.Context, js jetstream.JetStream, name string) (messages uint64, err error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("ingest: open stream %s: %w", name, err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return 0, nil
	}
	d := delivery{js: js, stream: stream, name: name, subjects: []string{">"}, headersOnly: true}
	err = d.run(ctx, 1, state.LastSeq, func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error) {
		messages++
		return true, nil
	})
	if err != nil && ctx.Err() != nil {
		return messages, ctx.Err()
	}
	return messages, err
}

// openLost reads the accepted positions of the settings.
func (l *Continuity) openLost(c *jetstream.StreamConfig) error {
	lost := []Lost{}
	if text := c.Metadata[metaLost]; text != "" {
		bad := json.Unmarshal([]byte(text), &lost) != nil
		for i, s := range lost {
			bad = bad || s.First == 0 || s.First > s.Last || i > 0 && s.First <= lost[i-1].Last
		}
		if bad {
			return &LogSettingsError{
				Stream: StreamName, Setting: "metadata " + metaLost, Got: strconv.Quote(clip(text)), Want: "ascending positions",
				Hint: "put back what the log had, which serve does by itself while it runs, or else with `nats stream edit " + StreamName + "`: they are the positions that were accepted as lost",
			}
		}
	}
	l.lost.Store(&lost)
	return nil
}

// AcceptLoss names positions in the settings of the log whose messages are lost from now
// on, by an operator's decision, of which some were sent again from a backup. Readers
// pass over them. Positions that were accepted before stay so.
func (l *Continuity) AcceptLoss(ctx context.Context, lost []Lost) error {
	for range limitsTries {
		info, err := l.log.info(ctx)
		if err != nil {
			return fmt.Errorf("ingest: accept a loss: %w", err)
		}
		if err := l.openLost(&info.Config); err != nil {
			return err
		}
		all := mergeLost(l.LostPositions(), lost)
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		cfg := info.Config
		cfg.Metadata[metaLost] = string(text)
		if _, err := l.log.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("ingest: accept a loss: %w", err)
		}
		if info, err = l.log.info(ctx); err == nil && info.Config.Metadata[metaLost] == string(text) {
			return l.openLost(&info.Config)
		}
	}
	return errLimitsLost
}

// mergeLost adds spans to those that were accepted before, which stay as they are.
func mergeLost(before, add []Lost) []Lost {
	all := slices.Clone(before)
	for _, a := range add {
		for _, s := range without([]Span{a.Span}, before, a.Span) {
			part := a
			part.Span = s
			all = append(all, part)
		}
	}
	slices.SortFunc(all, func(a, b Lost) int { return cmp.Compare(a.First, b.First) })
	return all
}
