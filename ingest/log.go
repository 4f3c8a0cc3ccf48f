package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

const (
	// StreamName is the name of the event log.
	StreamName = "HOLD_EVENTS"
	// DeadLetterStream is the name of the stream of what could not be applied.
	DeadLetterStream = "HOLD_DLQ"
	// DefaultPartitions is how many partitions a new log has unless LogConfig says otherwise.
	DefaultPartitions = 16

	// maxPartitions keeps a slip of the hand from making a log that no worker can
	// read: every partition is a consumer of the server and a goroutine of the producer.
	maxPartitions = 1024

	metaLogID      = "holdmetrics_log_id"
	metaPartitions = "holdmetrics_partitions"

	// metaDeadLetters has the budget of the dead letters as it was asked for.
	metaDeadLetters = "holdmetrics_budget"
)

// LogConfig says how a log is made. It counts only if there is no log yet, since
// a log keeps its partitions, and its replicas are the operator's to change.
type LogConfig struct {
	Partitions int // 0: DefaultPartitions
	Replicas   int // 0: 1
	// Limits are what the log begins with; zero: hold.DefaultLimits. Those of a
	// log that exists are changed by SetLimits.
	Limits hold.Limits
	// DeadLetterBytes is how many bytes of dead letters are kept at most; beyond it the
	// oldest go. 0: as the stream of them has it, DefaultDeadLetterBytes when it is made.
	DeadLetterBytes int64
	// Exists reports that there was a log before, so that none is made; nil: it is not
	// known. A broker that cannot read a log answers as if there was none.
	Exists func(ctx context.Context) (bool, error)
}

// Log is an opened event log: the stream of events, the stream of dead letters,
// and what was fixed when they were made. It holds no resources, needs no
// closing, and is safe for concurrent use.
type Log struct {
	Continuity
	js         jetstream.JetStream
	events     jetstream.Stream
	id         string
	partitions int
	limits     atomic.Pointer[[]limitsFrom] // never changed in place
	horizons   atomic.Pointer[horizons]
	learning   sync.Mutex    // of who stores horizons
	sealAfter  time.Duration // see Seal
	patience   time.Duration // see delivery; 0: readPatience

	imported atomic.Pointer[importNote] // nil: nothing was
	settled  atomic.Bool                // imported is known for good

	settings atomic.Pointer[jetstream.StreamConfig] // that were last seen to fit

	settleWithin time.Duration // 0: settleWithin
}

// OpenLog opens the event log of a JetStream account, and makes what is absent of it.
//
// Several processes may do so at once: one of them makes the log, the others
// find it. A log that exists keeps its id, its number of partitions and its
// replicas, whatever cfg says. A stream of that name which is not fit to be the
// event log is a *LogSettingsError; nothing is repaired behind the operator's back.
// While an import fills the log it is an *UnfinishedImportError.
func OpenLog(ctx context.Context, js jetstream.JetStream, cfg LogConfig) (*Log, error) {
	if cfg.Partitions == 0 {
		cfg.Partitions = DefaultPartitions
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.Partitions < 1 || cfg.Partitions > maxPartitions {
		return nil, fmt.Errorf("%w: %d partitions (hint: 1 to %d, 16 is a good number)", ErrLogConfig, cfg.Partitions, maxPartitions)
	}
	if err := mayMakeLog(ctx, js, &cfg); err != nil {
		return nil, err
	}
	events, err := openStream(ctx, js, eventsConfig(cfg, uuid.NewString()))
	if err != nil {
		return nil, err
	}
	l, err := openEvents(js, events)
	if err != nil {
		return nil, err
	}
	deadLetters, err := openStream(ctx, js, deadLetterConfig(cfg))
	if err != nil {
		return nil, err
	}
	have := deadLetters.CachedInfo()
	if err := checkDeadLetters(&have.Config); err != nil {
		return nil, err
	}
	if err := setDeadLetterBudget(ctx, js, have, cfg.DeadLetterBytes); err != nil {
		return nil, err
	}
	return l, nil
}

// mayMakeLog returns an error that matches ErrLogMissing if there is no log although there
// was one.
func mayMakeLog(ctx context.Context, js jetstream.JetStream, cfg *LogConfig) error {
	if cfg.Exists == nil {
		return nil
	}
	if _, err := js.Stream(ctx, StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // openStream returns another error
	}
	existed, err := cfg.Exists(ctx)
	if err == nil && existed {
		err = ErrLogMissing
	}
	return err
}

// openEvents is the log of a stream that is there.
func openEvents(js jetstream.JetStream, events jetstream.Stream) (*Log, error) {
	info := events.CachedInfo()
	have := info.Config
	l := &Log{js: js, events: events, id: have.Metadata[metaLogID]}
	l.log = l
	err := checkFormat(have.Metadata)
	if err != nil {
		return nil, err
	}
	if err = l.openImport(info); err != nil {
		return nil, err
	}
	if l.partitions, err = checkEvents(&have); err != nil {
		return nil, err
	}
	if err := errors.Join(l.openLimits(&have), l.openHorizons(&have, time.Time{}), l.openLost(&have)); err != nil {
		return nil, err
	}
	l.settings.Store(&have)
	l.sealAfter = sealAfter
	l.replicated.Store(have.Replicas > 1)
	if have.Replicas > 1 {
		l.sealAfter = sealAfterReplicated
	}
	return l, nil
}

// ID returns the log's id, a UUID that was fixed when the log was made. A
// checkpoint that names another id belongs to another log.
func (l *Log) ID() string { return l.id }

// LogID is the id of the log whose stream has this metadata; empty: it is none of ours.
func LogID(metadata map[string]string) string { return metadata[metaLogID] }

// Partitions returns the number of partitions, fixed when the log was made.
func (l *Log) Partitions() int { return l.partitions }

// JetStream returns the handle that the log was opened with.
func (l *Log) JetStream() jetstream.JetStream { return l.js }

// End returns the position of the last message of a partition, or 0 when the
// partition is empty. It asks the stream's leader, so whatever was acknowledged
// before the call is counted; but for a leader that slept, and answers before it
// hears that the others have another one by now.
func (l *Log) End(ctx context.Context, partition int) (uint64, error) {
	msg, err := l.events.GetLastMsgForSubject(ctx, LogSubject(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ingest: end of partition %d: %w", partition, err)
	}
	return msg.Sequence, nil
}

// LastPosition returns the last position of the whole log, or 0 when it is empty.
func (l *Log) LastPosition(ctx context.Context) (uint64, error) {
	info, err := l.info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ingest: last position of the log: %w", err)
	}
	return info.State.LastSeq, nil
}

// info asks the stream's leader how the log is.
//
// A server that has a replica and hears of no leader answers too, with what its
// own replica has, which may be any time old: it was just started, is cut off from
// the others, or its replica is broken. Its answer may be there before the
// leader's. So what comes without a leader's name counts for nothing.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.events.Info(ctx)
	if err != nil {
		return nil, err
	}
	l.replicated.Store(info.Config.Replicas > 1)
	if info.Config.Replicas > 1 && (info.Cluster == nil || info.Cluster.Leader == "") {
		return nil, ErrNoLeader
	}
	return info, nil
}

// Probe writes an empty frame to the log, which has no events and changes nothing. It
// returns why the log takes no messages, or nil.
func (l *Log) Probe(ctx context.Context) error {
	_, err := logPublisher{l.js}.publish(ctx, LogSubject(0), []byte{frameMagic0, frameMagic1, frameVersion}, nil)
	return err
}

// Look asks the broker which log there is now, and its last position. Another id
// than [Log.ID], or none, means that the log was deleted or recreated under this one.
// A broker that was the leader until a moment ago may answer with what it had then.
func (l *Log) Look(ctx context.Context) (id string, last uint64, err error) {
	info, err := l.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("ingest: look at the log: %w", err)
	}
	return info.Config.Metadata[metaLogID], info.State.LastSeq, nil
}

// openStream returns a stream as it is, or makes it.
func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ingest: open stream %s (hint: does the server run JetStream, and may this user create streams?): %w", cfg.Name, err)
	}
	return s, nil
}

func eventsConfig(cfg LogConfig, id string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:             StreamName,
		Description:      "holdmetrics: the event log. Everything else can be rebuilt from it.",
		Subjects:         eventSubjects(cfg.Partitions),
		Storage:          jetstream.FileStorage,
		Retention:        jetstream.LimitsPolicy,
		Replicas:         cfg.Replicas,
		DenyDelete:       true,
		DenyPurge:        true,
		Compression:      compression(cfg.Replicas),
		SubjectTransform: transform(cfg.Partitions),
		// Nobody needs the server to drop duplicates: an equal event is the same
		// fact, and this package sets no Nats-Msg-Id. The server cannot be configured not
		// to: none means two minutes, and this is the least that it takes. It keeps
		// the server from remembering two minutes of ids, and, nearly, from dropping
		// a raw producer's event because its id was used before.
		Duplicates: 100 * time.Millisecond,
		Metadata:   metadataOf(cfg, id),
	}
}

// compression of a stream with so many replicas.
//
// A server that starts with a replica of a stream cuts it back to what its Raft
// log begins with. For that nats-server 2.15 (.0 to .3 at least) begins a new
// block, which has the one before compressed in the background, and then removes
// the new one and goes on in the old one. What it appends there, uncompressed,
// comes behind a hole. The block cannot be read any more, the replica follows no
// leader any more, and two such replicas are the end of the log. A stream with one
// replica is not cut back.
func compression(replicas int) jetstream.StoreCompression {
	if replicas > 1 {
		return jetstream.NoCompression
	}
	return jetstream.S2Compression
}

func deadLetterConfig(cfg LogConfig) jetstream.StreamConfig {
	budget := cmp.Or(cfg.DeadLetterBytes, DefaultDeadLetterBytes)
	return jetstream.StreamConfig{
		Name:              DeadLetterStream,
		Description:       "holdmetrics: events that could not be applied, with the reason.",
		Subjects:          []string{deadLetterPrefix + ">"},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Replicas:          cfg.Replicas,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		MaxBytes:          budget,
		MaxMsgs:           deadLetterMessages(budget),
		Compression:       compression(cfg.Replicas),
		Duplicates:        100 * time.Millisecond,
		Metadata:          map[string]string{metaDeadLetters: strconv.FormatInt(budget, 10)},
	}
}

// eventSubjects are the raw subjects and those of the partitions. The latter
// are listed one by one, so that a subject which no partition has, such as
// hold.log.99, is no stream's, and its publisher gets no acknowledgement for
// what nobody would read.
func eventSubjects(partitions int) []string {
	subjects := make([]string, 0, 1+partitions)
	subjects = append(subjects, RawSubjectPrefix+"*")
	for p := range partitions {
		subjects = append(subjects, LogSubject(p))
	}
	slices.Sort(subjects)
	return subjects
}

func transform(partitions int) *jetstream.SubjectTransformConfig {
	return &jetstream.SubjectTransformConfig{
		Source:      RawSubjectPrefix + "*",
		Destination: fmt.Sprintf("%s{{partition(%d,1)}}", logSubjectPrefix, partitions),
	}
}

// metaFormat has the number of the format of a log in the metadata of its stream. A log
// without one has format 1. A program that writes what an older one would misread, in the
// log or in any bucket beside it, raises the number first. So an older process refuses to
// start, and one that runs does not meet what it would take for damage.
const metaFormat = "holdmetrics_format"

// logFormat is the newest format that this program reads.
const logFormat = 1

// ErrLogFormat means that a newer program has written the log.
var ErrLogFormat = errors.New("ingest: the event log is in a newer format")

// checkFormat refuses a log that a newer program has written.
func checkFormat(metadata map[string]string) error {
	text, found := metadata[metaFormat]
	if !found {
		return nil
	}
	format, err := strconv.ParseUint(text, 10, 32)
	if err != nil || format == 0 {
		return &LogSettingsError{
			Stream: StreamName, Setting: "metadata " + metaFormat, Got: strconv.Quote(clip(text)), Want: "a number",
			Hint: "put back what the log had, with `nats stream edit " + StreamName + "`",
		}
	}
	if format > logFormat {
		return fmt.Errorf("%w: it has format %d, and this program reads up to %d: run the version of holdmetrics that wrote it, or a newer one", ErrLogFormat, format, logFormat)
	}
	return nil
}
