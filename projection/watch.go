package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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
	// watchBehind is how long a server may stand still before it has come to where the
	// bucket was when a pass began. Then another one is asked.
	watchBehind = 5 * time.Second

	markKey = "_read.mark"
)

var (
	errConnection = errors.New("the connection was lost")
	errGap        = errors.New("messages are missing")
	errBehind     = errors.New("the server that was asked is behind the others; another one is asked")
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
//
// Of a bucket with replicas, the consumer lives on any one of their servers and reads
// what that one has. A server that was killed may be far behind the others, for as
// long as it likes, and would tell of the past as if it were the present: holders
// would step back, or be gone. So a pass begins with a message of its own, which a
// majority has taken (a leader that slept cannot answer for it), and nothing that
// comes before that message counts as what the bucket has. Until then a view that has
// been complete before stays as it is; what is new waits in the pass.
func (v *View) follow(ctx context.Context, pass uint32) (complete bool, err error) {
	conn := v.js.Conn()
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer conn.RemoveStatusListener(lost)

	mark, err := v.mark(ctx)
	if err != nil {
		return false, err
	}
	consumer, err := v.newConsumer(ctx)
	if err != nil {
		return false, err
	}
	defer v.dropConsumer(ctx, consumer)

	p := &watchPass{view: v, pass: pass, mark: mark, broken: make(chan error, 1), missing: make(chan []string, 1)}
	if v.isReady() {
		p.aside = &aside{at: map[string]int{}}
	}
	v.positions.reset()
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
	standing := time.NewTicker(v.behind)
	defer standing.Stop()
	for before := uint64(0); ; {
		select {
		case err = <-p.broken:
		case missing := <-p.missing:
			err = v.sweep(ctx, p, missing)
		case <-lost:
			err = errConnection
		case <-ctx.Done():
			err = ctx.Err()
		case <-standing.C:
			received := p.received.Load()
			if p.reached.Load() {
				standing.Stop()
			} else if received == before {
				err = errBehind
			}
			before = received
		}
		if err != nil {
			return false, err
		}
	}
}

// sweep drops what the bucket has no longer: of the holders that have not come in a
// pass, those of whose keys its leader has none. That they have not come does not
// say so. A key that is written anew before its turn moves to the end of the bucket,
// and when others were told that nothing is pending, the server may not have counted
// it there yet.
func (v *View) sweep(ctx context.Context, p *watchPass, missing []string) error {
	ctx, cancel := context.WithTimeout(ctx, watchRequest)
	defer cancel()
	stream, err := v.js.Stream(ctx, v.stream)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(v.prefix+">"))
	if err != nil {
		return err
	}
	if info.State.LastSeq < p.mark {
		return errBehind // of a leader that slept
	}
	v.gate.pass(func() {
		for _, key := range missing {
			if _, there := info.State.Subjects[v.prefix+key]; !there {
				v.table.removeUnseen(key, p.pass)
			}
		}
		p.swept = true
		if p.pending == 0 {
			p.caughtUp()
		}
	})
	return nil
}

// mark puts a message into the bucket and gives its sequence: whoever has seen it has
// seen all that the bucket had before.
func (v *View) mark(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, watchRequest)
	defer cancel()
	ack, err := v.js.Publish(ctx, v.prefix+markKey, nil)
	if err != nil {
		return 0, fmt.Errorf("mark the beginning with a message to %s: %w", v.prefix+markKey, err)
	}
	return ack.Sequence, nil
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

// watchPass is what one pass knows. It is touched behind the view's gate, but for what
// is atomic.
type watchPass struct {
	view     *View
	pass     uint32
	mark     uint64        // sequence of the pass's own message
	reached  atomic.Bool   // that message, or a later one, has come
	received atomic.Uint64 // messages
	aside    *aside        // until then; nil: nobody reads the view yet
	need     uint64        // messages of which the view is complete; known when the mark is reached
	complete bool
	pending  uint64        // as the last message said
	asked    bool          // whether holders that have not come are gone
	swept    bool          // those that are, are dropped
	missing  chan []string // takes their keys
	broken   chan error    // takes the first error
}

// aside is what a pass has seen that differs from the view, in order.
type aside struct {
	at  map[string]int // index in all
	all []asideEntry
}

type asideEntry struct {
	key   string
	value []byte
	gone  bool // a mark that the key was removed
	void  bool // replaced, or what the view has
}

func (a *aside) put(e asideEntry) {
	if i, ok := a.at[e.key]; ok {
		a.all[i] = asideEntry{void: true}
		delete(a.at, e.key)
	}
	if !e.void {
		e.key = strings.Clone(e.key)
		a.at[e.key] = len(a.all)
		a.all = append(a.all, e)
	}
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
	if p.received.Add(1) != meta.Sequence.Consumer {
		p.fail(errGap)
		return
	}
	p.apply(msg)
	p.pending = meta.NumPending
	if !p.reached.Load() {
		if meta.Sequence.Stream < p.mark {
			return
		}
		p.reach(meta)
	}
	if meta.NumPending == 0 {
		p.caughtUp()
	}
	if meta.Sequence.Consumer >= p.need {
		p.becomeComplete()
	}
}

// reach is called when all has come that the bucket had when the pass began, but for
// keys that were written since. Those are pending. Under load something may always be,
// so what is pending now is counted: when as much has come, they have.
func (p *watchPass) reach(meta *jetstream.MsgMetadata) {
	p.reached.Store(true)
	p.need = meta.Sequence.Consumer + meta.NumPending
	if p.aside == nil {
		return
	}
	for _, e := range p.aside.all {
		switch {
		case e.void:
		case e.gone:
			p.view.table.remove(e.key)
		default:
			p.view.table.put(e.key, e.value, p.pass)
		}
	}
	p.aside = nil
}

func (p *watchPass) apply(msg jetstream.Msg) {
	v := p.view
	key, ok := strings.CutPrefix(msg.Subject(), v.prefix)
	if !ok {
		return
	}
	if strings.Contains(key, ownKeyMark) {
		if partition, ok := positionOf(key); ok {
			if to, err := parseReached(msg.Data()); err == nil {
				v.positions.stage(partition, to)
			}
		}
		return
	}
	gone := removed(msg.Headers())
	switch {
	case p.aside != nil:
		same := !gone && v.table.same(key, msg.Data(), p.pass)
		p.aside.put(asideEntry{key: key, value: msg.Data(), gone: gone, void: same})
	case gone:
		v.table.remove(key)
	default:
		v.table.put(key, msg.Data(), p.pass)
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
		if p.asked {
			return
		}
		p.asked = true
		if missing := p.view.table.unseen(p.pass); len(missing) > 0 {
			p.missing <- missing
			return
		}
		p.swept = true
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
