package ingest

import (
	"errors"
	"fmt"
)

// Sentinels of this package. What is wrong with a field of an event is a
// *hold.FieldError, which may wrap one of them.
var (
	// ErrSubjectToken: the text is not the subject token of any holder.
	ErrSubjectToken = errors.New("ingest: not a subject token")
	// ErrMalformed: the bytes are no event at all; no single field is to blame.
	ErrMalformed = errors.New("ingest: malformed event")
	// ErrFrame: a frame is damaged. Events before the damage are good.
	ErrFrame = errors.New("ingest: damaged frame")
	// ErrDeadLetter: a message of the dead letter stream is not one that this package wrote.
	ErrDeadLetter = errors.New("ingest: not a dead letter")

	// ErrUnknownField: a JSON event has a field that no event has.
	ErrUnknownField = errors.New("is not a field of an event")
	// ErrRepeatedField: a JSON event has a field twice.
	ErrRepeatedField = errors.New("is given twice")
	// ErrFieldType: a value is of the wrong kind, such as an object for a name.
	ErrFieldType = errors.New("has a value of the wrong type")
	// ErrRevision: a revision is not an integer from 0 to 2^64-1.
	ErrRevision = errors.New("is not an integer from 0 to 18446744073709551615")
	// ErrBool: a yes or no is neither true nor false.
	ErrBool = errors.New("is neither true nor false")

	// ErrBusy: there was no quota for another event before the caller's time was up.
	// The event was not taken. (Hint: the log is slower than the producers. Send
	// less at once, look at the disk of the NATS server, or raise MaxPending.)
	ErrBusy = errors.New("ingest: too many events wait for the log; retry later, or look at the disk of the NATS server")
	// ErrNotWritable: the log takes no events for now, as ProducerOptions.Gate says. The
	// event was not taken.
	ErrNotWritable = errors.New("ingest: the log takes no events for now")
	// ErrClosed: the producer is closed. The event was not taken.
	ErrClosed = errors.New("ingest: producer is closed")
	// ErrNotAcknowledged: the log did not acknowledge the event. It may be in the
	// log all the same; sending it again is harmless, since an equal event is the
	// same fact.
	ErrNotAcknowledged = errors.New("ingest: not acknowledged by the log")

	// ErrLogDamaged: messages of the log are missing, cannot be read, or are not those
	// that were applied. See GapError and ReplacedError.
	ErrLogDamaged = errors.New("ingest: the log is damaged")
	// ErrLogMissing: the broker says that there is no log, and there was one.
	ErrLogMissing = errors.New("ingest: the log is missing, and there was one before: none is made in its place (hint: its files may be damaged; the NATS server's log says more; 'holdmetrics log repair --data-dir DIR' repairs those of serve; or restore a backup)")
	// ErrLogSettings: a stream exists, but is not one that holds events. See LogSettingsError.
	ErrLogSettings = errors.New("ingest: stream settings do not fit")
	// ErrNoLog: there is no event log to look at.
	ErrNoLog = errors.New("ingest: there is no event log here (hint: it is made by the first serve, gateway or worker; is this the right NATS server and account?)")
	// ErrUnfinishedImport: the log is being filled by an import. See UnfinishedImportError.
	ErrUnfinishedImport = errors.New("ingest: the import of this log is not finished")
	// ErrNotEmpty: a log that is to take an import has messages already.
	ErrNotEmpty = errors.New("ingest: the log is not empty")
	// ErrImportOvertaken: another import carries on with what this one began.
	ErrImportOvertaken = errors.New("ingest: another import has taken over")
	// ErrHorizon: a log cannot be sealed up to that time.
	ErrHorizon = errors.New("ingest: not a horizon")
	// ErrHorizonUnknown: a message seals a partition, and nobody who may has set its horizon.
	ErrHorizonUnknown = errors.New("a seal that the settings of the log do not name")
	// ErrHorizonAhead: a message seals a partition up to a time that had not come.
	ErrHorizonAhead = errors.New("a seal of a time that had not come")
	// ErrLogConfig: OpenLog was asked for something that cannot be made.
	ErrLogConfig = errors.New("ingest: bad log configuration")
	// ErrNoLeader: the servers that have the log are without a leader, or one of
	// them that hears of none answered first.
	ErrNoLeader = errors.New("ingest: the log has no leader just now (hint: it is tried again; where that lasts, look at the NATS servers: a majority of those that have the stream must run and reach each other)")
)

// LogSettingsError says which setting of an existing stream does not fit, and
// what an operator can do. It matches ErrLogSettings.
type LogSettingsError struct {
	Stream  string // name of the stream
	Setting string // as the NATS documentation calls it
	Got     string
	Want    string
	Hint    string
}

// Error gives stream, setting and hint in one line.
func (e *LogSettingsError) Error() string {
	return fmt.Sprintf("%v: stream %s has %s %s, want %s (hint: %s)", ErrLogSettings, e.Stream, e.Setting, e.Got, e.Want, e.Hint)
}

// Is makes the error match ErrLogSettings.
func (e *LogSettingsError) Is(target error) bool { return target == ErrLogSettings }

// NotAcknowledgedError is what callers get whose frame the log did not
// acknowledge. It matches ErrNotAcknowledged and its cause.
type NotAcknowledgedError struct {
	Partition int
	Attempts  int   // publishes that were tried
	Cause     error // of the last attempt
}

// Error names the partition and the last cause.
func (e *NotAcknowledgedError) Error() string {
	return fmt.Sprintf("%v: partition %d, %d attempts, last: %v (hint: is the NATS server up, and has its disk room? sending the event again is harmless)",
		ErrNotAcknowledged, e.Partition, e.Attempts, e.Cause)
}

// Is makes the error match ErrNotAcknowledged.
func (e *NotAcknowledgedError) Is(target error) bool { return target == ErrNotAcknowledged }

// Unwrap gives the cause of the last attempt.
func (e *NotAcknowledgedError) Unwrap() error { return e.Cause }
