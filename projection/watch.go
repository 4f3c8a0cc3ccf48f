package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// watchBatch is how many messages are asked for at a time. A start reads the
	// whole bucket: with many at once the broker waits for no request (of a million
	// holders a tenth of the time), and some 16 MiB are on their way at most.
	watchBatch = 1 << 15
	// watchHeartbeat is how often a server that has nothing to send says that it is
	// there. One that was silent for twice as long is taken for lost with the
	// consumer that it had, and the bucket is read again.
	watchHeartbeat  = 5 * time.Second
	watchIdle       = 2 * time.Minute // after which the broker drops a watch that nobody reads
	watchRetryFirst = 50 * time.Millisecond
	watchRetryLast  = 5 * time.Second
	watchRequest    = 10 * time.Second // for one request to the broker
)

var (
	errConnection = errors.New("the connection was lost")
	errGap        = errors.New("messages are missing")
)

// watch follows the bucket until ctx ends: one pass after the other, each from
// the start of the bucket.
func (v *View) watch(ctx context.Context) {
	retry := watchRetryFirst
	for pass := uint32(1); ; pass++ {
		complete, err := v.follow(ctx, pass)
		if ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("projection: watch of %s: %w", v.stream, err)
		v.trouble.Store(&err)
		if complete {
			retry = watchRetryFirst
		}
		timer := time.NewTimer(retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		retry = min(2*retry, watchRetryLast)
	}
}

// follow is one pass: it reads the bucket from its start and goes on until ctx
// ends or something is not as it should be. It returns whether it was complete.
//
// The consumer is a plain one. An ordered consumer would be made anew behind our
// back, from the sequence after the last one seen, and that is not enough here:
// where the broker lost the last writes in a crash, or the bucket was made anew,
// the sequences begin again below it, and what they carry would be skipped.
func (v *View) follow(ctx context.Context, pass uint32) (complete bool, err error) {
	conn := v.js.Conn()
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer conn.RemoveStatusListener(lost)

	consumer, err := v.newConsumer(ctx)
	if err != nil {
		return false, err
	}
	defer v.dropConsumer(ctx, consumer)

	p := &watchPass{view: v, pass: pass, expected: consumer.CachedInfo().NumPending, others: map[string]bool{}, broken: make(chan error, 1)}
	v.positions.reset()
	if p.expected == 0 {
		v.gate.pass(p.caughtUp)
	}
	consume, err := consumer.Consume(func(msg jetstream.Msg) { v.gate.pass(func() { p.handle(msg) }) },
		jetstream.PullMaxMessages(watchBatch), jetstream.PullHeartbeat(watchHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { p.fail(err) }))
	if err != nil {
		return false, err
	}
	defer func() {
		consume.Stop()
		<-consume.Closed()
		complete = p.complete
	}()
	select {
	case err = <-p.broken:
	case <-lost:
		err = errConnection
	case <-ctx.Done():
		err = ctx.Err()
	}
	return false, err
}

func (v *View) newConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, watchRequest)
	defer cancel()
	return v.js.CreateConsumer(ctx, v.stream, jetstream.ConsumerConfig{
		Description:       "a view of the snapshots",
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     v.prefix + ">",
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: watchIdle,
		MemoryStorage:     true,
		Replicas:          1,
	})
}

// dropConsumer tells the broker that the watch is over; if that does not get
// through, it finds out after watchIdle.
func (v *View) dropConsumer(ctx context.Context, consumer jetstream.Consumer) {
	if !v.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = v.js.DeleteConsumer(ctx, v.stream, consumer.CachedInfo().Name)
}

// watchPass is what one pass knows. The consumer's goroutine alone touches it.
type watchPass struct {
	view     *View
	pass     uint32
	expected uint64          // keys that the bucket had at the start
	seen     uint64          // keys seen in this pass
	others   map[string]bool // of those, the ones that are no snapshots
	received uint64          // messages
	complete bool
	swept    bool
	broken   chan error // takes the first error
}

func (p *watchPass) fail(err error) {
	select {
	case p.broken <- err:
	default:
	}
}

func (p *watchPass) handle(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.fail(err)
		return
	}
	p.received++
	if meta.Sequence.Consumer != p.received {
		p.fail(errGap)
		return
	}
	p.apply(msg)
	if meta.NumPending == 0 {
		p.caughtUp()
	}
	// Under load something may always be pending. Keys that change while the first
	// values come are counted once, when they come: so every key of the start was
	// seen, or as many others.
	if p.seen >= p.expected {
		p.becomeComplete()
	}
}

func (p *watchPass) apply(msg jetstream.Msg) {
	v := p.view
	key, ok := strings.CutPrefix(msg.Subject(), v.prefix)
	if !ok {
		return
	}
	if strings.Contains(key, ownKeyMark) {
		p.other(key)
		if partition, ok := positionOf(key); ok {
			if to, err := parseReached(msg.Data()); err == nil {
				v.positions.stage(partition, to)
			}
		}
		return
	}
	if removed(msg.Headers()) {
		p.other(key)
		v.table.remove(key)
		return
	}
	if v.table.put(key, msg.Data(), p.pass) {
		p.seen++
	}
}

// other counts a key that is not in the table.
func (p *watchPass) other(key string) {
	if !p.others[key] {
		p.others[key] = true
		p.seen++
	}
}

// removed says that the message is a mark in place of a value: a KV client
// deleted or purged the key, or the broker did.
func removed(h nats.Header) bool {
	return len(h) > 0 && (h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "")
}

// caughtUp is called when nothing is pending: the view is as the bucket was a
// moment ago.
func (p *watchPass) caughtUp() {
	if !p.swept {
		p.swept = true
		p.view.table.sweep(p.pass)
	}
	// Before the positions are told: who has waited for one must not find the
	// trouble of an earlier pass beside it.
	p.recovered()
	p.view.positions.publish()
	p.becomeComplete()
}

func (p *watchPass) recovered() {
	if !p.complete {
		p.view.trouble.Store(nil)
	}
}

func (p *watchPass) becomeComplete() {
	if p.complete {
		return
	}
	p.recovered()
	p.complete = true
	p.view.readyOnce.Do(func() { close(p.view.ready) })
}
