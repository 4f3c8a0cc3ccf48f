package processor

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// prefetchBytes is how much of a partition is read ahead, and so about how large a
// batch can be.
const prefetchBytes = 512 << 10

// message is one message of the log.
type message struct {
	position  uint64
	partition int    // where the log has it; see wholeLog
	at        int64  // the log's time of it, ns
	pending   uint64 // messages behind it that the partition is to read, when it was sent
	json      bool   // the producer said so; else a frame or a HoldMsg
	unknown   bool   // a seal that the settings of the log do not name
	origin    string // where it came from, for dead letters
	data      []byte
	span      *trace.SpanContext // of a sampled request; nil: of none
}

// messageBytes is what a message takes beside its data: itself, at its place in
// a queue that may have grown to twice its length, and the piece of memory that
// its data lies in. Without it a buffer of empty messages would have no bound.
const messageBytes = 256

// prefetchBuffer hands messages from the log's client to the partition, all that is at
// hand at once, so that the busier the partition, the larger its batches. It is
// bounded in bytes, of data and of what each message takes beside: put waits while it is full.
type prefetchBuffer struct {
	limit int
	ready chan struct{} // has one token while there are messages
	ended chan struct{} // has one token when atEnd was called
	wrong chan error    // has one error when the log's client cannot go on for good

	mu     sync.Mutex
	space  sync.Cond
	queue  []message
	spare  []message
	bytes  int
	closed bool
	heard  heard
	waits  error // what the log's client waits for; nil: for messages
}

// heard is what the log's client has handed over in all.
type heard struct {
	messages   uint64
	first      int64   // the log's time of the first of them, ns
	events     uint64  // in those messages, refused ones included
	position   uint64  // of the last of them; 0: there was none
	behind     uint64  // messages of the partition behind it, when it was sent
	perMessage float64 // events a message, the mean of late; 0: there was none
}

// perMessageWeight is how much one more message counts in the mean of late: that
// of the last hundred or so is most of it.
const perMessageWeight = 1.0 / 64

func (h *heard) add(m *message, events int) {
	if h.messages == 0 {
		h.first = m.at
	}
	h.messages++
	h.events += uint64(events)
	h.position, h.behind = m.position, m.pending
	if h.perMessage == 0 {
		h.perMessage = float64(events)
	}
	h.perMessage += (float64(events) - h.perMessage) * perMessageWeight
}

func newPrefetchBuffer(limit int) *prefetchBuffer {
	b := &prefetchBuffer{limit: limit, ready: make(chan struct{}, 1), ended: make(chan struct{}, 1), wrong: make(chan error, 1)}
	b.space.L = &b.mu
	return b
}

// put adds a message, waiting for space. It returns false if the buffer was closed.
func (b *prefetchBuffer) put(m message) bool {
	events := ingest.EventsIn(m.data)
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes >= b.limit && !b.closed {
		b.space.Wait()
	}
	if b.closed {
		return false
	}
	b.queue = append(b.queue, m)
	b.bytes += len(m.data) + messageBytes
	b.heard.add(&m, events)
	if len(b.queue) == 1 {
		select {
		case b.ready <- struct{}{}:
		default:
		}
	}
	return true
}

// take gives all messages at hand, in order. They are valid until the next take.
func (b *prefetchBuffer) take() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.spare)
	b.queue, b.spare = b.spare[:0], b.queue
	b.bytes = 0
	b.space.Broadcast()
	return b.spare
}

// atEnd notes that the log has nothing behind a position, which is that of the last
// message that was put in. What the message said of it may be wrong.
func (b *prefetchBuffer) atEnd(position uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard.position > position || b.heard.behind == 0 {
		return
	}
	b.heard.behind = 0
	select {
	case b.ended <- struct{}{}:
	default:
	}
}

// fail notes why the log's client cannot go on for good.
func (b *prefetchBuffer) fail(err error) {
	select {
	case b.wrong <- err:
	default:
	}
}

// awaits notes what the log's client waits for before it hands over more; nil: messages.
func (b *prefetchBuffer) awaits(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = err
}

// awaited returns what the log's client waits for, or nil.
func (b *prefetchBuffer) awaited() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}

// all is what was put in since the beginning, whether it was taken or not.
func (b *prefetchBuffer) all() heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard
}

// empty reports whether nothing is at hand.
func (b *prefetchBuffer) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) == 0
}

// close ends every put, now and later.
func (b *prefetchBuffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.space.Broadcast()
}

// eventLog is what the worker needs of the log. *ingest.Log behind jetStreamLog
// is the one that counts; tests bring one in memory.
type eventLog interface {
	ID() string
	Partitions() int
	End(ctx context.Context, partition int) (uint64, error)
	LimitsAt(position uint64) hold.Limits
	// KnowsHorizon reports whether the log's settings have a horizon.
	KnowsHorizon(ctx context.Context, horizon int64) (bool, error)
	// Look says which log there is now, and its last position.
	Look(ctx context.Context) (id string, last uint64, err error)
	// PublishDeadLetters stores the dead letters of one message.
	PublishDeadLetters(ctx context.Context, d []ingest.DeadLetter) error

	// What follows finds damage; see [ingest.Log].
	Replicated() bool
	Damage() error
	Accepted() bool
	IsLost(position uint64) bool
	Whole(ctx context.Context, from uint64) error
	Has(ctx context.Context, a ingest.Anchor) error
	CountAfter(ctx context.Context, partition int, after uint64) (messages, last uint64, err error)
	Check(ctx context.Context, within ingest.Span) error

	// read puts the messages of a partition, or of everyPartition, behind position
	// into the prefetch buffer, in order, until stop is called, which waits for the reader's
	// end. The buffer must be closed first.
	read(ctx context.Context, partition int, after uint64, in *prefetchBuffer, log *zap.Logger) (stop func(), err error)
}
