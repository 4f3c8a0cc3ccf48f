package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	holdpb "holdmetrics/proto"
)

// The dead letters of one frame of the log are one message of the stream of dead letters:
// a frame may have 512 of them, and each message costs the server a sync.
//
//	subject   hold.dlq.<partition>.<sequence>.frame
//	headers   Hold-Frame: 1   Hold-Origin: ...
//	body      a DeadLetterFrame of hold.proto
//
// Resolving one of them replaces the message by one in which it has an outcome and no
// bytes. All writers replace only what they have read, so none undoes what another did.
const (
	headerFrame     = "Hold-Frame"
	deadFrameMark   = "1" // version of the body
	deadFrameSuffix = ".frame"

	// deadFrameTries is how often a message of dead letters is read and written again
	// because others wrote meanwhile.
	deadFrameTries = 100
)

// errDeadFrameTooSmall: the server takes no message that is large enough for the names of
// all dead letters of a frame.
var errDeadFrameTooSmall = errors.New("ingest: the dead letters of a frame do not fit into one message")

// frameSubject is the subject of the dead letters of the same frame.
func (d *DeadLetter) frameSubject() string {
	return deadLetterPrefix + strconv.Itoa(d.Partition) + "." + strconv.FormatUint(d.Sequence, 10) + deadFrameSuffix
}

// PublishAll stores dead letters of one message of the log, as Publish does with one. Those
// that are Framed make one message of the stream, however many they are. Their data may
// be cut to make them fit, see [DeadLetter].
func (s DeadLetters) PublishAll(ctx context.Context, deadLetters []DeadLetter) error {
	var framed []DeadLetter
	for i := range deadLetters {
		if deadLetters[i].Framed {
			framed = append(framed, deadLetters[i])
			continue
		}
		if err := s.Publish(ctx, deadLetters[i]); err != nil {
			return err
		}
	}
	if len(framed) == 0 {
		return nil
	}
	err := s.addFramed(ctx, framed)
	if errors.Is(err, errDeadFrameTooSmall) {
		for i := range framed {
			if err := s.Publish(ctx, framed[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("ingest: dead letters of %s (hint: the partition waits until stream %s takes them): %w", framed[0].frameSubject(), DeadLetterStream, err)
	}
	return nil
}

// addFramed adds dead letters of one frame to its message, except for those that it has.
func (s DeadLetters) addFramed(ctx context.Context, fresh []DeadLetter) error {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if err != nil {
		return err
	}
	// Earlier versions gave each a message of its own, which may be resolved by now.
	if fresh, err = s.withoutLone(ctx, stream, fresh); err != nil || len(fresh) == 0 {
		return err
	}
	all, at := fresh, uint64(0)
	for range deadFrameTries {
		err := s.publishFrame(ctx, all, at)
		if !wrongLast(err) {
			return err
		}
		kept, now, err := readDeadFrame(ctx, stream, &fresh[0])
		switch {
		case errors.Is(err, ErrNoDeadLetter): // refused because of one that is still in flight
			all, at = fresh, 0
			continue
		case err != nil:
			return err
		}
		at = now
		if kept[0].otherLog(logOf(fresh[0].Origin)) {
			all = fresh
			continue
		}
		if all = merge(kept, fresh); len(all) == len(kept) {
			return nil
		}
	}
	return fmt.Errorf("%d writers or more are at %s", deadFrameTries, fresh[0].frameSubject())
}

// merge returns the dead letters of a frame that are kept, with those of fresh that are
// not among them, by index.
func merge(kept, fresh []DeadLetter) []DeadLetter {
	all := slices.Clone(kept)
	for i := range fresh {
		if !slices.ContainsFunc(kept, func(d DeadLetter) bool { return d.Index == fresh[i].Index }) {
			all = append(all, fresh[i])
		}
	}
	slices.SortStableFunc(all, func(a, b DeadLetter) int { return a.Index - b.Index })
	return all
}

// withoutLone returns those dead letters of a frame that have no message of their own.
func (s DeadLetters) withoutLone(ctx context.Context, stream jetstream.Stream, deadLetters []DeadLetter) ([]DeadLetter, error) {
	d := &deadLetters[0]
	filter := strings.TrimSuffix(d.frameSubject(), deadFrameSuffix) + ".*"
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	delete(info.State.Subjects, d.frameSubject())
	if len(info.State.Subjects) == 0 {
		return deadLetters, nil
	}
	var out []DeadLetter
	for _, d := range deadLetters {
		if info.State.Subjects[d.Subject()] > 0 {
			if has, _, err := s.lone(ctx, stream, &d); err != nil || !has.otherLog(logOf(d.Origin)) {
				if err != nil && !errors.Is(err, ErrNoDeadLetter) {
					return nil, err
				}
				continue
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// readDeadFrame reads the dead letters of a frame, and the sequence of their message in
// its stream. There is at least one. The error matches ErrNoDeadLetter if there is none.
func readDeadFrame(ctx context.Context, stream jetstream.Stream, of *DeadLetter) ([]DeadLetter, uint64, error) {
	raw, err := stream.GetLastMsgForSubject(ctx, of.frameSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, fmt.Errorf("%w: %s", ErrNoDeadLetter, of.ID())
	}
	if err != nil {
		return nil, 0, err
	}
	deadLetters, err := ReadDeadLetters(raw.Subject, raw.Header, raw.Data)
	return deadLetters, raw.Sequence, err
}

// publishFrame stores the dead letters of a frame, where the last message of their
// subject has the sequence at; 0: there is none.
func (s DeadLetters) publishFrame(ctx context.Context, deadLetters []DeadLetter, at uint64) error {
	most := math.MaxInt
	if n := s.log.js.Conn().MaxPayload(); n > 0 && n < math.MaxInt { // 0: not connected yet
		most = int(n)
	}
	for {
		m, err := frameMessage(deadLetters, most, at)
		if err != nil {
			return err
		}
		ack, err := s.log.js.PublishMsg(ctx, m)
		if err == nil && ack.Stream != DeadLetterStream {
			err = fmt.Errorf("stream %s answered", ack.Stream)
		}
		// A stream may have a limit of its own, and another server a smaller one.
		if size := payload(m); tooLarge(err) && size > minDeadLetter {
			most = max(size/2, minDeadLetter)
			continue
		}
		return err
	}
}

// frameMessage is the message of the dead letters of a frame, of at most so many bytes of
// headers and data. The error is errDeadFrameTooSmall if they do not fit in that.
func frameMessage(deadLetters []DeadLetter, most int, at uint64) (*nats.Msg, error) {
	m := &nats.Msg{Subject: deadLetters[0].frameSubject(), Header: nats.Header{
		headerFrame: []string{deadFrameMark},
		headerLast:  []string{strconv.FormatUint(at, 10)},
	}}
	if origin := oneLine(deadLetters[0].Origin, maxReason); origin != "" {
		m.Header[headerOrigin] = []string{origin}
	}
	most -= payload(m)
	text := maxReason
	for {
		body := frameBody(deadLetters, text)
		if err := body.cut(deadLetters, most); err == nil {
			m.Data, err = proto.Marshal(&body.DeadLetterFrame)
			return m, err
		} else if text /= 4; text == 0 {
			return nil, err
		}
	}
}

// deadFrameBody is the body of a message of dead letters.
type deadFrameBody struct {
	holdpb.DeadLetterFrame
}

// frameBody is the body of dead letters, with no text of more than so many bytes.
func frameBody(deadLetters []DeadLetter, text int) *deadFrameBody {
	type reason struct{ reason, kind, field string }
	b, places := &deadFrameBody{}, map[reason]uint32{}
	last := reason{}
	for i := range deadLetters {
		d := &deadLetters[i]
		r := reason{d.Reason, d.Kind, d.Field}
		place, known := uint32(len(b.Reasons)-1), i > 0 && r == last
		if !known {
			last = r
			place, known = places[r]
		}
		if !known {
			place = uint32(len(b.Reasons))
			places[r] = place
			b.Reasons = append(b.Reasons, &holdpb.DeadLetterReason{Reason: oneLine(d.Reason, text), Kind: oneLine(d.Kind, text), Field: oneLine(d.Field, text)})
		}
		framed := &holdpb.FramedDeadLetter{Index: uint32(d.Index), Reason: place, Data: d.Data, Outcome: oneLine(d.Outcome, text)}
		if d.Truncated {
			framed.Size = uint64(max(d.Size, len(d.Data)))
		}
		b.DeadLetters = append(b.DeadLetters, framed)
	}
	return b
}

// cut cuts the data of the largest events until the body has at most so many bytes.
func (b *deadFrameBody) cut(deadLetters []DeadLetter, most int) error {
	size := proto.Size(&b.DeadLetterFrame)
	if size <= most {
		return nil
	}
	const sizeBytes = 11 // of a dead letter that is cut, at most: its whole size
	sizes := make([]int, len(deadLetters))
	left := most - size
	for i := range deadLetters {
		sizes[i] = len(deadLetters[i].Data)
		left += sizes[i] - sizeBytes
	}
	if left < 0 {
		return errDeadFrameTooSmall
	}
	// Those that are small stay whole, and the others share what is left.
	slices.Sort(sizes)
	share := 0
	for i, size := range sizes {
		share = left / (len(sizes) - i)
		if size > share {
			break
		}
		left -= size
	}
	for _, d := range b.DeadLetters {
		if len(d.Data) > share {
			d.Size = max(d.Size, uint64(len(d.Data)))
			d.Data = d.Data[:share]
		}
	}
	return nil
}

// ReadDeadLetters reads a message of the stream of dead letters, of which it takes
// subject, headers and data. It is one dead letter, or those of a frame, by index; it is
// never none. Data is not copied. The error matches ErrDeadLetter.
func ReadDeadLetters(subject string, header nats.Header, data []byte) ([]DeadLetter, error) {
	version := header.Get(headerFrame)
	if version == "" {
		d, err := ReadDeadLetter(subject, header, data)
		return []DeadLetter{d}, err
	}
	base, framed := strings.CutSuffix(subject, deadFrameSuffix)
	id, named := strings.CutPrefix(base, deadLetterPrefix)
	of, err := ParseDeadLetterID(id + ".0")
	if !framed || !named || err != nil {
		return nil, fmt.Errorf("%w: subject %q", ErrDeadLetter, clip(subject))
	}
	if version != deadFrameMark {
		return nil, fmt.Errorf("%w: version %q of %s is unknown: a newer holdmetrics wrote it", ErrDeadLetter, clip(version), clip(subject))
	}
	var body holdpb.DeadLetterFrame
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, &body); err != nil || len(body.DeadLetters) == 0 {
		return nil, fmt.Errorf("%w: the body of %q does not decode", ErrDeadLetter, clip(subject))
	}
	origin := header.Get(headerOrigin)
	out := make([]DeadLetter, len(body.DeadLetters))
	for i, d := range body.DeadLetters {
		if int(d.Reason) >= len(body.Reasons) || d.Index > math.MaxInt32 {
			return nil, fmt.Errorf("%w: dead letter %d of %q", ErrDeadLetter, i, clip(subject))
		}
		r := body.Reasons[d.Reason]
		out[i] = DeadLetter{
			Partition: of.Partition, Sequence: of.Sequence, Index: int(d.Index), Framed: true,
			Reason: r.Reason, Kind: r.Kind, Field: r.Field, Origin: origin, Data: d.Data, Size: len(d.Data), Outcome: d.Outcome,
		}
		if d.Size != 0 {
			out[i].Truncated, out[i].Size = true, max(int(min(d.Size, math.MaxInt32)), len(d.Data))
		}
	}
	return out, nil
}

// resolveFramed resolves dead letters of one frame. It returns how many of them there
// were, and how many have no message with the others any more.
func (s DeadLetters) resolveFramed(ctx context.Context, deadLetters []DeadLetter, outcome string) (gone []DeadLetter, err error) {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if err != nil {
		return nil, err
	}
	for range deadFrameTries {
		kept, at, err := readDeadFrame(ctx, stream, &deadLetters[0])
		if errors.Is(err, ErrNoDeadLetter) {
			return deadLetters, nil
		}
		if err != nil {
			return nil, err
		}
		gone = nil
		for i := range deadLetters {
			at := slices.IndexFunc(kept, func(d DeadLetter) bool { return d.Index == deadLetters[i].Index })
			if at < 0 {
				gone = append(gone, deadLetters[i])
				continue
			}
			kept[at].resolve(outcome)
		}
		if len(gone) == len(deadLetters) {
			return gone, nil
		}
		if err = s.publishFrame(ctx, kept, at); !wrongLast(err) {
			return gone, err
		}
	}
	return nil, fmt.Errorf("%d writers or more are at %s", deadFrameTries, deadLetters[0].frameSubject())
}
