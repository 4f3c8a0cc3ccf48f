package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

// Origin is what decisions about a log depend on, beside its messages.
type Origin struct {
	LogID      string
	Partitions int
	Through    uint64       // its last position
	Limits     []LimitsFrom // by ascending position, the first from 0
	// Horizons are those that its settings name, ascending. One counts from the first
	// message on that seals a partition up to it; there may be none up to Through.
	Horizons []int64
}

// LimitsFrom are limits that hold from a position of the log on.
type LimitsFrom struct {
	From   uint64
	Limits hold.Limits
}

// Origin describes the log for who copies it up to a position. It asks the server,
// for what came behind the opening of the log may depend on settings that are newer.
func (l *Log) Origin(ctx context.Context, through uint64) (Origin, error) {
	info, err := l.events.Info(ctx)
	if err != nil {
		return Origin{}, fmt.Errorf("ingest: read the settings of the log: %w", err)
	}
	if err := errors.Join(l.openLimits(&info.Config), l.openHorizons(&info.Config, time.Time{})); err != nil {
		return Origin{}, err
	}
	o := Origin{LogID: l.id, Partitions: l.partitions, Through: through, Horizons: slices.Clone(l.horizons.Load().all)}
	for _, h := range *l.limits.Load() {
		if h.from <= max(through, 1) {
			o.Limits = append(o.Limits, LimitsFrom{h.from, h.limits})
		}
	}
	return o, nil
}

// How much of an import is on its way to the log.
const (
	importFlight      = 512
	importFlightBytes = 8 << 20

	// importPatience is how long an import waits for an acknowledgement.
	importPatience = 30 * time.Second
)

// Import fills an empty log with the messages of another one, which keep their
// positions and their times. It is not safe for concurrent use.
type Import struct {
	js     jetstream.JetStream
	log    *Log
	cfg    jetstream.StreamConfig // of the log as it is when it is finished
	origin Origin
	note   importNote
	next   uint64         // position of the next message
	there  uint64         // last position that an earlier import has filled
	sealed map[int64]bool // the horizons that its messages name

	stored     func() (*Message, error, bool) // those messages, by and by
	stopStored func()

	inFlight      []unacknowledged
	inFlightBytes int
	patience      time.Duration // 0: importPatience
}

// unacknowledged is a message that was sent, and that the log has not acknowledged yet.
type unacknowledged struct {
	position uint64
	bytes    int
	ack      jetstream.PubAckFuture
}

// BeginImport opens the log for an import, or makes it, and lets nobody else publish
// to it until Finish. A log that has messages is ErrNotEmpty, unless they are those
// of an import of the same origin that was cut short: this one carries on, and that
// one, if it should still run, fails.
func BeginImport(ctx context.Context, js jetstream.JetStream, origin Origin, replicas int) (*Import, error) {
	if err := checkOrigin(&origin); err != nil {
		return nil, err
	}
	newest := origin.Limits[len(origin.Limits)-1].Limits
	stream, err := openStream(ctx, js, eventsConfig(LogConfig{Partitions: origin.Partitions, Replicas: max(replicas, 1), Limits: newest}, uuid.NewString()))
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	before, err := parseImport(info.Config.Metadata)
	if err != nil {
		return nil, err
	}
	i := &Import{origin: origin, cfg: info.Config, next: 1, sealed: map[int64]bool{}, note: importNote{LogID: origin.LogID, Through: origin.Through, Token: uuid.NewString(), Times: map[uint64]int64{}}}
	i.cfg.Metadata = maps.Clone(info.Config.Metadata)
	carriesOn := before != nil && before.Token != ""
	switch {
	case carriesOn && (before.LogID != origin.LogID || before.Through != origin.Through):
		return nil, fmt.Errorf("%w, not of log %s through %d", &UnfinishedImportError{before.LogID, before.Through, info.State.LastSeq}, origin.LogID, origin.Through)
	case carriesOn:
		i.cfg.Subjects, i.cfg.SubjectTransform = eventSubjects(origin.Partitions), transform(origin.Partitions)
	case info.State.LastSeq > 0:
		return nil, fmt.Errorf("%w: it has %d messages", ErrNotEmpty, info.State.LastSeq)
	}
	partitions, err := checkEvents(&i.cfg)
	if err != nil {
		return nil, err
	}
	if partitions != origin.Partitions {
		return nil, fmt.Errorf("%w: the log has %d partitions, and the one to import %d (hint: nothing is in the log; delete the stream %s, and the import creates it again)",
			ErrLogConfig, partitions, origin.Partitions, StreamName)
	}
	// The order of messages is the order in which they are sent: none is tried again.
	if i.js, err = jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(2*importFlight)); err != nil {
		return nil, err
	}
	return i, i.begin(ctx, stream, carriesOn)
}

func checkOrigin(o *Origin) error {
	bad := o.LogID == "" || o.Through == 0 || o.Partitions < 1 || o.Partitions > maxPartitions || len(o.Limits) == 0 || o.Limits[0].From != 0
	for i := range o.Limits {
		bad = bad || o.Limits[i].Limits.MaxClockSkew < 0 || o.Limits[i].Limits.MaxFutureEnd < 0 || i > 0 && o.Limits[i].From <= o.Limits[i-1].From
	}
	for i, h := range o.Horizons {
		bad = bad || h <= 0 || h > hold.MaxTime || i > 0 && h <= o.Horizons[i-1]
	}
	if bad {
		return fmt.Errorf("%w: nothing can be imported from log %q, through %d, of %d partitions, with limits %v and horizons %v", ErrLogConfig, clip(o.LogID), o.Through, o.Partitions, o.Limits, o.Horizons)
	}
	return nil
}

// begin closes the log to all subjects but the import's, and notes the import.
func (i *Import) begin(ctx context.Context, stream jetstream.Stream, carriesOn bool) error {
	during := i.cfg
	during.Metadata = maps.Clone(i.cfg.Metadata)
	during.Metadata[metaImport] = i.note.format()
	subject := importSubject + i.note.Token + ".*"
	during.Subjects = []string{subject}
	during.SubjectTransform = &jetstream.SubjectTransformConfig{Source: subject, Destination: logSubjectPrefix + "{{wildcard(1)}}"}
	if _, err := i.js.UpdateStream(ctx, during); err != nil {
		return fmt.Errorf("ingest: begin the import: %w", err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("ingest: begin the import: %w", err)
	}
	if info.Config.Metadata[metaImport] != during.Metadata[metaImport] {
		return ErrImportOvertaken
	}
	i.there = info.State.LastSeq
	if !carriesOn && i.there > 0 { // a producer was faster
		if _, err := i.js.UpdateStream(ctx, i.cfg); err != nil {
			return fmt.Errorf("ingest: give the log back: %w", err)
		}
		return fmt.Errorf("%w: it has %d messages", ErrNotEmpty, i.there)
	}
	i.log = &Log{js: i.js, events: stream, id: i.cfg.Metadata[metaLogID], partitions: i.origin.Partitions}
	i.log.log = i.log
	i.log.imported.Store(&i.note)
	i.log.settled.Store(true)
	return nil
}

// There is the last position that an earlier import of the same origin has filled.
func (i *Import) There() uint64 { return i.there }

// Add sends the next message: its time, partition, data, and whether it is JSON.
// What is there from an earlier import is compared instead; if it differs, the
// error matches ErrNotEmpty. Add returns before the log has the message, and the
// bytes must stay as they are until Finish.
func (i *Import) Add(ctx context.Context, m *Message) error {
	if m.Position != i.next || m.Position > i.origin.Through {
		return fmt.Errorf("ingest: the import has position %d where %d of %d comes", m.Position, i.next, i.origin.Through)
	}
	if m.Partition < 0 || m.Partition >= i.origin.Partitions {
		return fmt.Errorf("ingest: position %d of the import is in partition %d of %d", m.Position, m.Partition, i.origin.Partitions)
	}
	i.next++
	if horizon, err := ReadSeal(m.Data); err == nil {
		i.sealed[horizon] = true
	}
	msg := &nats.Msg{Subject: importSubject + i.note.Token + "." + strings.TrimPrefix(LogSubject(m.Partition), logSubjectPrefix), Header: nats.Header{}, Data: m.Data}
	msg.Header[LogTimeHeader] = []string{time.Unix(0, m.Time).UTC().Format(time.RFC3339Nano)}
	if m.JSON {
		msg.Header[ContentTypeHeader] = []string{JSONContentType}
	}
	if payload(msg) > int(i.js.Conn().MaxPayload()) {
		delete(msg.Header, LogTimeHeader)
		if i.note.Times[m.Position] = m.Time; len(i.note.Times) > mostLateTimes {
			return fmt.Errorf("ingest: position %d: more than %d messages have no room for a header (hint: raise max_payload of the NATS server by 1 KiB)", m.Position, mostLateTimes)
		}
	}
	if m.Position <= i.there {
		return i.compare(ctx, m)
	}
	for len(i.inFlight) >= importFlight || len(i.inFlight) > 0 && i.inFlightBytes+len(m.Data) > importFlightBytes {
		if err := i.awaitOldest(ctx); err != nil {
			return err
		}
	}
	ack, err := i.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return fmt.Errorf("ingest: import position %d: %w", m.Position, err)
	}
	i.inFlight = append(i.inFlight, unacknowledged{m.Position, len(m.Data), ack})
	i.inFlightBytes += len(m.Data)
	return nil
}

// Wait returns when the log has all that was added.
func (i *Import) Wait(ctx context.Context) error {
	for len(i.inFlight) > 0 {
		if err := i.awaitOldest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitOldest waits for the acknowledgement of the oldest message in flight.
func (i *Import) awaitOldest(ctx context.Context) error {
	f := i.inFlight[0]
	i.inFlight = i.inFlight[1:]
	i.inFlightBytes -= f.bytes
	patience := i.patience
	if patience == 0 {
		patience = importPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("ingest: import position %d: %w for %s, and whether the log has it is open: import the same file again; it carries on", f.position, ErrNotAcknowledged, patience)
	case err := <-f.ack.Err():
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
			err = fmt.Errorf("%w, or the server is away", ErrImportOvertaken)
		}
		return fmt.Errorf("ingest: import position %d: %w", f.position, err)
	case ack := <-f.ack.Ok():
		if ack.Stream != StreamName || ack.Sequence != f.position {
			return fmt.Errorf("ingest: import position %d: it became position %d of stream %s: %w", f.position, ack.Sequence, ack.Stream, errSpoilt)
		}
		return nil
	}
}

// errSpoilt is the hint about a log in which an import and something else met.
var errSpoilt = fmt.Errorf("%w, but for an import that cannot be finished (hint: delete the streams %s and %s, and import again)", ErrNotEmpty, StreamName, DeadLetterStream)

// compare looks whether a message is the one that an earlier import has put there.
func (i *Import) compare(ctx context.Context, m *Message) error {
	if i.stored == nil {
		i.stored, i.stopStored = iter.Pull2(i.log.Read(ctx, Range{To: i.there}))
	}
	got, err, ok := i.stored()
	if err != nil {
		return err
	}
	_, late := i.note.Times[m.Position]
	if !ok || got.Position != m.Position || got.Partition != m.Partition || got.JSON != m.JSON || !bytes.Equal(got.Data, m.Data) || got.Time != m.Time && !late {
		return fmt.Errorf("ingest: position %d is not as the file has it: %w", m.Position, errSpoilt)
	}
	return nil
}

// Finish waits until the log has everything, gives the log back to its producers and
// readers, and opens it. Where messages are missing it is an error, and the import
// remains unfinished.
func (i *Import) Finish(ctx context.Context) (*Log, error) {
	if err := i.Wait(ctx); err != nil {
		return nil, err
	}
	i.Close()
	if i.next != i.origin.Through+1 {
		return nil, fmt.Errorf("ingest: the import ends at position %d of %d", i.next-1, i.origin.Through)
	}
	history := make([]limitsFrom, 0, len(i.origin.Limits)+1)
	for _, h := range i.origin.Limits {
		if h.From <= i.origin.Through {
			history = append(history, limitsFrom{h.From, h.Limits})
		}
	}
	// What comes from now on is judged by the limits that this log had.
	own, err := parseLimits(i.cfg.Metadata)
	if err != nil {
		return nil, err
	}
	if now := own[len(own)-1].limits; now != history[len(history)-1].limits {
		history = append(history, limitsFrom{i.origin.Through + 1, now})
	}
	// A horizon that no message has is of a later time than the copy, or was set by
	// nobody who came to an end: it has decided nothing.
	delete(i.cfg.Metadata, metaHorizons)
	if horizons := slices.DeleteFunc(slices.Clone(i.origin.Horizons), func(h int64) bool { return !i.sealed[h] }); len(horizons) > 0 {
		i.cfg.Metadata[metaHorizons] = formatHorizons(horizons)
	}
	note := i.note
	note.Token = ""
	i.cfg.Metadata[metaLimits], i.cfg.Metadata[metaImport] = formatLimits(history), note.format()

	info, err := i.log.events.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ingest: finish the import: %w", err)
	}
	if now, err := parseImport(info.Config.Metadata); err != nil || now == nil || now.Token != i.note.Token {
		return nil, ErrImportOvertaken
	}
	if _, err := i.js.UpdateStream(ctx, i.cfg); err != nil {
		return nil, fmt.Errorf("ingest: finish the import: %w", err)
	}
	return OpenLog(ctx, i.js, LogConfig{Partitions: i.origin.Partitions, Replicas: i.cfg.Replicas})
}

// Close lets go of what the import holds. Without Finish it remains unfinished.
func (i *Import) Close() {
	if i.stored != nil {
		i.stopStored()
		i.stored = nil
	}
}
