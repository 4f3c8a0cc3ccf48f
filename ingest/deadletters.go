package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
)

// What can become of a dead letter.
const (
	DeadLetterRetried = "retried" // its event was accepted when it was sent again
	DeadLetterDropped = "dropped" // an operator wants to see it no more
)

// ErrNoDeadLetter: there is no dead letter of that id.
var ErrNoDeadLetter = errors.New("ingest: there is no such dead letter")

// ID is the name of a dead letter, <partition>.<sequence>.<index>.
func (d *DeadLetter) ID() string { return strings.TrimPrefix(d.Subject(), deadLetterPrefix) }

// ParseDeadLetterID reads an id, as DeadLetter.ID writes it, into the three numbers of
// the dead letter. The error matches ErrDeadLetter.
func ParseDeadLetterID(id string) (DeadLetter, error) {
	parts := strings.Split(id, ".")
	if len(parts) == 3 {
		partition, err1 := strconv.ParseUint(parts[0], 10, 31)
		sequence, err2 := strconv.ParseUint(parts[1], 10, 64)
		index, err3 := strconv.ParseUint(parts[2], 10, 31)
		d := DeadLetter{Partition: int(partition), Sequence: sequence, Index: int(index)}
		if errors.Join(err1, err2, err3) == nil && d.ID() == id {
			return d, nil
		}
	}
	return DeadLetter{}, fmt.Errorf("%w: %q is not PARTITION.SEQUENCE.INDEX, such as 3.1207.0", ErrDeadLetter, clip(id))
}

// originPrefix is followed by the id of a log, a space and a subject.
const originPrefix = "log "

// DeadLetters is the stream of dead letters of a log. It holds no resources, and is
// safe for concurrent use.
type DeadLetters struct{ log *Log }

// DeadLetters returns the log's stream of dead letters.
func (l *Log) DeadLetters() DeadLetters { return DeadLetters{l} }

// Origin is the origin of the dead letters of a partition of this log.
func (s DeadLetters) Origin(partition int) string {
	return originPrefix + s.log.id + " " + LogSubject(partition)
}

// logOf is the id of the log that an origin names; empty: it names none.
func logOf(origin string) string {
	rest, named := strings.CutPrefix(origin, originPrefix)
	id, _, whole := strings.Cut(rest, " ")
	if !named || !whole {
		return ""
	}
	return id
}

// otherLog reports whether the dead letter is of another log than the one of that id.
// A dead letter that names no log is of any.
func (d *DeadLetter) otherLog(id string) bool {
	named := logOf(d.Origin)
	return named != "" && id != "" && named != id
}

// Get returns a dead letter by the three numbers of its id, resolved or not. The
// error matches ErrNoDeadLetter if there is none.
func (s DeadLetters) Get(ctx context.Context, id DeadLetter) (DeadLetter, error) {
	d, _, err := s.at(ctx, &id)
	if !errors.Is(err, ErrNoDeadLetter) {
		return d, err
	}
	stream, streamErr := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(streamErr, jetstream.ErrStreamNotFound) {
		return DeadLetter{}, err
	}
	if streamErr != nil {
		return DeadLetter{}, fmt.Errorf("ingest: dead letter %s: %w", id.ID(), streamErr)
	}
	framed, _, frameErr := readDeadFrame(ctx, stream, &id)
	for i := range framed {
		if framed[i].Index == id.Index {
			return framed[i], nil
		}
	}
	if frameErr != nil && !errors.Is(frameErr, ErrNoDeadLetter) {
		return DeadLetter{}, fmt.Errorf("ingest: dead letter %s: %w", id.ID(), frameErr)
	}
	return DeadLetter{}, err
}

// at returns a dead letter that has a message of its own, with the sequence of that in
// its stream.
func (s DeadLetters) at(ctx context.Context, id *DeadLetter) (d DeadLetter, at uint64, err error) {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return DeadLetter{}, 0, fmt.Errorf("%w: %s", ErrNoDeadLetter, id.ID())
	}
	if err != nil {
		return DeadLetter{}, 0, fmt.Errorf("ingest: dead letter %s: %w", id.ID(), err)
	}
	return s.lone(ctx, stream, id)
}

// lone is at, of a stream that is open.
func (s DeadLetters) lone(ctx context.Context, stream jetstream.Stream, id *DeadLetter) (d DeadLetter, at uint64, err error) {
	raw, err := stream.GetLastMsgForSubject(ctx, id.Subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, 0, fmt.Errorf("%w: %s", ErrNoDeadLetter, id.ID())
	}
	if err == nil {
		d, err = ReadDeadLetter(raw.Subject, raw.Header, raw.Data)
	}
	if err != nil {
		return DeadLetter{}, 0, fmt.Errorf("ingest: dead letter %s: %w", id.ID(), err)
	}
	return d, raw.Sequence, nil
}

// All yields the dead letters that there are when it begins, including resolved
// ones, in the order of arrival. The last value that it yields may be an error.
func (s DeadLetters) All(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		if err := s.each(ctx, func(d DeadLetter) bool { return yield(d, nil) }); err != nil {
			yield(DeadLetter{}, err)
		}
	}
}

func (s DeadLetters) each(ctx context.Context, give func(DeadLetter) bool) error {
	const what = "ingest: read the dead letters: %w"
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf(what, err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	reader := delivery{js: s.log.js, stream: stream, name: DeadLetterStream, subjects: []string{">"}, patience: s.log.patience}
	end, err := reader.end(ctx)
	if err != nil {
		return fmt.Errorf(what, err)
	}
	if end == 0 {
		return nil
	}
	err = reader.run(ctx, 1, min(end, state.LastSeq), func(msg jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
		// Anybody may publish there; messages that are not dead letters are skipped.
		deadLetters, err := ReadDeadLetters(msg.Subject(), msg.Headers(), msg.Data())
		if err != nil {
			return true, nil
		}
		for _, d := range deadLetters {
			if !give(d) {
				return false, nil
			}
		}
		return true, nil
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf(what, err)
	}
	return nil
}

// Resolve resolves a dead letter: a tombstone takes its place, with the outcome
// and the reason. The processor may apply a tail of the log again; the tombstone
// keeps it from creating the dead letter again. Resolving it again changes only the
// recorded outcome.
func (s DeadLetters) Resolve(ctx context.Context, d DeadLetter, outcome string) error {
	_, err := s.ResolveAll(ctx, []DeadLetter{d}, outcome)
	return err
}

// resolveAtOnce is how many messages of dead letters are written together.
const resolveAtOnce = 32

// ResolveAll resolves many dead letters, and those of one frame together. It returns how
// many are resolved, which with an error may be some of them.
func (s DeadLetters) ResolveAll(ctx context.Context, deadLetters []DeadLetter, outcome string) (int, error) {
	type frame struct {
		partition int
		sequence  uint64
	}
	frames := map[frame][]DeadLetter{}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(resolveAtOnce)
	var resolved atomic.Int64
	one := func(d DeadLetter) error {
		d.resolve(outcome)
		if err := s.publish(within, &d, false); err != nil {
			return err
		}
		resolved.Add(1)
		return nil
	}
	for _, d := range deadLetters {
		if d.Framed {
			at := frame{d.Partition, d.Sequence}
			frames[at] = append(frames[at], d)
			continue
		}
		group.Go(func() error { return one(d) })
	}
	for _, of := range frames {
		group.Go(func() error {
			gone, err := s.resolveFramed(within, of, outcome)
			if err != nil {
				return fmt.Errorf("ingest: resolve dead letters of %s: %w", of[0].frameSubject(), err)
			}
			resolved.Add(int64(len(of) - len(gone)))
			// The stream has dropped them. A tombstone of its own keeps each from coming back.
			for _, d := range gone {
				if err := one(d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return int(resolved.Load()), err
}

// resolve makes a tombstone of the dead letter.
func (d *DeadLetter) resolve(outcome string) {
	d.Outcome = outcome
	if !d.Truncated {
		d.Truncated, d.Size = true, max(d.Size, len(d.Data)) // the log has it
	}
	d.Data = nil
}

// Whole returns a dead letter with all its bytes. If it was cut, or resolved, they
// come from the log. The error matches ErrNoDeadLetter if the log does not have them, as
// for a dead letter of another log.
func (s DeadLetters) Whole(ctx context.Context, d DeadLetter) (DeadLetter, error) {
	if !d.Truncated {
		return d, nil
	}
	if d.otherLog(s.log.id) {
		return d, fmt.Errorf("%w: %s was cut, and the rest of it is in another log (%s)", ErrNoDeadLetter, d.ID(), d.Origin)
	}
	m, err := s.log.Message(ctx, d.Sequence)
	if err != nil {
		return d, err
	}
	for e := range m.Entries() {
		if e.Index == d.Index && len(e.Data) == d.Size {
			d.Data, d.Truncated = e.Data, false
			return d, nil
		}
	}
	return d, fmt.Errorf("%w: position %d of the log has no event %d of %d bytes", ErrNoDeadLetter, d.Sequence, d.Index, d.Size)
}

// Decode reads the event of a whole dead letter, as DecodeEvent and DecodeJSON do.
func (d *DeadLetter) Decode(into *hold.Draft) error {
	if d.Truncated {
		return fmt.Errorf("%w: the dead letter has %d bytes of %d", ErrMalformed, len(d.Data), d.Size)
	}
	if d.ContentType == JSONContentType {
		return DecodeJSON(d.Data, into)
	}
	if IsFrame(d.Data) {
		return fmt.Errorf("%w: a frame that cannot be read", ErrFrame)
	}
	return DecodeEvent(d.Data, into)
}

// DefaultDeadLetterBytes is how many bytes of dead letters are kept unless LogConfig says
// otherwise. That is some two million bad events of frames.
const DefaultDeadLetterBytes = 256 << 20

// deadLetterMessages is how many messages a budget has place for: one a KiB. The server
// keeps the subject of each in memory.
func deadLetterMessages(budget int64) int64 { return max(budget>>10, 1) }

// setDeadLetterBudget gives the stream of dead letters its budget; 0: it keeps the one that
// it has. A stream of an earlier version has none. What it holds is not deleted for
// the first one, which therefore may be larger.
func setDeadLetterBudget(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo, budget int64) error {
	asked := strconv.FormatInt(budget, 10)
	known, budgeted := info.Config.Metadata[metaDeadLetters]
	if budget == 0 && budgeted || known == asked {
		return nil
	}
	cfg := info.Config
	bytes := cmp.Or(budget, DefaultDeadLetterBytes)
	messages := deadLetterMessages(bytes)
	if !budgeted {
		asked = strconv.FormatInt(bytes, 10)
		bytes, messages = max(bytes, int64(info.State.Bytes)), max(messages, int64(info.State.Msgs))
	}
	cfg.MaxBytes, cfg.MaxMsgs = bytes, messages
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[metaDeadLetters] = asked
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("ingest: set the budget of stream %s to %d bytes (hint: may this user update streams?): %w", DeadLetterStream, bytes, err)
	}
	return nil
}

// DeadLetterUsage is what the dead letters take of their budget.
type DeadLetterUsage struct {
	Bytes, MaxBytes       uint64    // 0: no limit
	Messages, MaxMessages uint64    // 0: no limit
	Since                 time.Time // the oldest was stored; zero: there are none
}

// Full reports whether the next dead letters take the place of the oldest. The limits of a
// stream go by whole messages, so a full stream has a little less than its limit.
func (u *DeadLetterUsage) Full() bool {
	return u.MaxBytes > 0 && u.Bytes >= u.MaxBytes-u.MaxBytes/64 || u.MaxMessages > 0 && u.Messages >= u.MaxMessages
}

// Usage returns what the dead letters take of their budget.
func (s DeadLetters) Usage(ctx context.Context) (u DeadLetterUsage, err error) {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return u, nil
	}
	if err != nil {
		return u, fmt.Errorf("ingest: stream %s: %w", DeadLetterStream, err)
	}
	info := stream.CachedInfo()
	u = DeadLetterUsage{
		Bytes: info.State.Bytes, MaxBytes: uint64(max(info.Config.MaxBytes, 0)),
		Messages: info.State.Msgs, MaxMessages: uint64(max(info.Config.MaxMsgs, 0)),
	}
	if u.Messages > 0 {
		u.Since = info.State.FirstTime
	}
	return u, nil
}
