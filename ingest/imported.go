package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
)

// An imported log. Events are judged by the log's time, and the broker gives every
// message the time at which it stored it. So a message of an import carries the time
// that it had in the log that it comes from, in a header. Anybody may publish such a
// header; it counts only at the positions that the log's metadata names as imported,
// which are 1 to some N, and which nobody but the import could fill:
//
//   - An import begins with an empty log. It notes itself in the metadata, and in the
//     same step takes all the usual subjects from the stream, which from then on
//     listens to one of the import's own, with a name that nobody knows: no producer's
//     message comes in, and none is acknowledged.
//   - It looks at the position of each acknowledgement.
//   - Its last step gives the usual subjects back and takes the subject out of the
//     note, which is then finished. Until then nobody opens the log (OpenLog), and
//     those who have it open already read nothing of it (TimeOf waits).
//   - An import that was cut short is carried on by another one of the same file,
//     which compares all that is there already.
const metaImport = "holdmetrics_import"

// LogTimeHeader is the header of an imported message that has its time in the log
// that it comes from, as RFC 3339 with nanoseconds.
const LogTimeHeader = "Holdmetrics-Log-Time"

const (
	// importSubject is followed by the name of the import and a partition.
	importSubject = "hold.import."
	// importLook is how often somebody who waits for an import looks, and settleWithin
	// how long they wait before they hear why.
	importLook   = 200 * time.Millisecond
	settleWithin = 10 * time.Second
	// mostLateTimes is how many messages of an import may have no room for the header.
	mostLateTimes = 1000
)

// importNote is what metaImport says.
type importNote struct {
	LogID   string `json:"log_id"`         // of the log that it comes from
	Through uint64 `json:"through"`        // its last position
	Token   string `json:"door,omitempty"` // the last token but one of the import's subject; empty: it is finished
	// Times are those of messages that were as large as the server takes, and had no
	// room for a header.
	Times map[uint64]int64 `json:"times,omitempty"`
}

// parseImport reads the note of a log, nil where nothing was imported.
func parseImport(metadata map[string]string) (*importNote, error) {
	text := metadata[metaImport]
	if text == "" {
		return nil, nil
	}
	note := &importNote{}
	if err := json.Unmarshal([]byte(text), note); err != nil || note.Through == 0 {
		return nil, &LogSettingsError{
			Stream: StreamName, Setting: "metadata " + metaImport, Got: strconv.Quote(clip(text)), Want: "the note of an import",
			Hint: "put back what the log had, which serve does by itself while it runs, or else with `nats stream edit " + StreamName + "`: without it a replay decides otherwise than the first run",
		}
	}
	return note, nil
}

func (n *importNote) format() string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // of numbers and strings: cannot be
	}
	return string(text)
}

// UnfinishedImportError says that the log is being filled by an import, or was and
// the import was cut short. It matches ErrUnfinishedImport.
type UnfinishedImportError struct {
	LogID   string // of the log that it comes from
	Through uint64 // position at which it is finished
	Last    uint64 // position that it has reached
}

// Error says how far the import is and what to do.
func (e *UnfinishedImportError) Error() string {
	return fmt.Sprintf("%v: it has %d of %d messages of log %s (hint: run 'holdmetrics log import' with the same file again; it carries on)",
		ErrUnfinishedImport, e.Last, e.Through, e.LogID)
}

// Is makes the error match ErrUnfinishedImport.
func (e *UnfinishedImportError) Is(target error) bool { return target == ErrUnfinishedImport }

// TimeOf gives the log's time of a message, in nanoseconds: the server's timestamp,
// or for what was imported the time that it had in the log that it comes from. Every
// reader of the log goes by it.
//
// While an import fills the log it waits for the end of the import. It asks the server
// only if the log was empty when it was opened, until it has one answer. After some
// seconds without one, or when ctx ends, the error is an [*UnsettledError].
func (l *Log) TimeOf(ctx context.Context, position uint64, header nats.Header, stored time.Time) (int64, error) {
	if !l.settled.Load() {
		if err := l.settle(ctx, position); err != nil {
			return 0, err
		}
	}
	note := l.imported.Load()
	if note == nil || position > note.Through {
		return stored.UnixNano(), nil
	}
	if at, ok := note.timeOf(position, header); ok {
		return at, nil
	}
	return stored.UnixNano(), nil // Verify reports it
}

// timeOf is the time of an imported message; false where it has none.
func (n *importNote) timeOf(position uint64, header nats.Header) (int64, bool) {
	if text := header.Get(LogTimeHeader); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		return at.UnixNano(), err == nil
	}
	at, ok := n.Times[position]
	return at, ok
}

// UnsettledError is the error of a wait for the log's time of a message: it is not known
// yet whether the log is an imported one. It matches [ErrUnfinishedImport] if the log is
// being filled, and the error of the context that ended.
type UnsettledError struct {
	Position uint64
	Waited   time.Duration
	Last     error // of the last look at the log
	Cause    error // the end of the caller's context; nil: the wait was over
}

// Error says which message it is about, and what was last heard of the log.
func (e *UnsettledError) Error() string {
	text := fmt.Sprintf("ingest: the time of position %d of the log is not known after %v", e.Position, e.Waited.Round(time.Millisecond))
	if e.Cause != nil {
		text += fmt.Sprintf(" (%v)", e.Cause)
	}
	return fmt.Sprintf("%s: last heard: %v", text, e.Last)
}

// Unwrap returns the causes.
func (e *UnsettledError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Last}
	}
	return []error{e.Cause, e.Last}
}

// errUnheard stands for what was last heard if nothing was.
var errUnheard = errors.New("nothing")

// settle finds out whether the messages of a log that was empty when it was opened
// are imported. One look after the first message settles that for good, since an
// import begins with an empty log.
func (l *Log) settle(ctx context.Context, position uint64) error {
	most := l.settleWithin
	if most == 0 {
		most = settleWithin
	}
	within, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	last := errUnheard
	for began := time.Now(); !l.settled.Load(); {
		err := l.trySettle(within)
		if err == nil {
			break // several may do so at once, and find the same
		}
		if within.Err() == nil || last == errUnheard {
			last = err // what the end of the wait has cut off says less
		}
		if backoff.Wait(within, importLook) != nil {
			return &UnsettledError{Position: position, Waited: time.Since(began), Last: last, Cause: context.Cause(ctx)}
		}
	}
	return nil
}

func (l *Log) trySettle(ctx context.Context) error {
	info, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return err
	}
	have := info.CachedInfo().Config
	if have.Metadata[metaLogID] != l.id {
		return fmt.Errorf("it is another log, of id %q", have.Metadata[metaLogID]) // which the readers will find out
	}
	note, err := parseImport(have.Metadata)
	if err != nil {
		return err
	}
	if note != nil && note.Token != "" {
		return &UnfinishedImportError{LogID: note.LogID, Through: note.Through, Last: info.CachedInfo().State.LastSeq}
	}
	if err := errors.Join(l.openLimits(&have), l.openHorizons(&have, time.Time{})); err != nil {
		return err
	}
	l.imported.Store(note)
	l.settled.Store(true)
	return nil
}

// openImport reads the note of an opened stream.
func (l *Log) openImport(info *jetstream.StreamInfo) error {
	note, err := parseImport(info.Config.Metadata)
	if err != nil {
		return err
	}
	if note != nil && note.Token != "" {
		return &UnfinishedImportError{LogID: note.LogID, Through: note.Through, Last: info.State.LastSeq}
	}
	l.imported.Store(note)
	l.settled.Store(info.State.LastSeq > 0)
	return nil
}

// Importing is an [*UnfinishedImportError] while an import fills the log, or has begun
// to and was cut short, and nil else. It asks the server, and only where the log was
// empty when it was opened and nothing of it was read yet: a log that has messages is
// never filled.
func (l *Log) Importing(ctx context.Context) error {
	if l.settled.Load() {
		return nil
	}
	stream, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	note, err := parseImport(info.Config.Metadata)
	if err == nil && note != nil && note.Token != "" {
		err = &UnfinishedImportError{LogID: note.LogID, Through: note.Through, Last: info.State.LastSeq}
	}
	return err
}
