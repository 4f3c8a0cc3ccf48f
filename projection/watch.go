package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/consumer"
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
	watchLeave      = time.Second      // for deleting a consumer
	// watchPatience is how long nothing may come while something is missing. Then the
	// pass ends, and the next one has another consumer. A pass that misses nothing
	// asks the bucket as often whether it should.
	watchPatience = 5 * time.Second
	// watchPatienceMost bounds the patience, which doubles with each pass in a row that
	// does not become complete: a machine that is slower than the patience would begin
	// the same pass again and again.
	watchPatienceMost = 30 * time.Second

	// checkTimeout is for one question where the bucket ends, or half of a greater
	// patience; checkTries is how often it is asked before the pass ends, checkSpacing the time between two of them: under
	// load, positions become known that much later.
	checkTimeout = 2 * time.Second
	checkTries   = 3
	checkSpacing = 10 * time.Millisecond

	markKey = "_read.mark"
)

var (
	errConnection = errors.New("the connection was lost")
	errGap        = errors.New("messages are missing")
	errBehind     = errors.New("the server that was asked is behind the others: another one is asked")
	errSilent     = errors.New("the consumer does not deliver what the bucket has: another one is made")
)

// watch follows the bucket until ctx ends: one pass after the other, each from
// the start of the bucket.
func (v *View) watch(ctx context.Context) {
	pauses := backoff.Backoff{First: watchRetryFirst, Most: watchRetryLast}
	patience := v.patience
	for pass := uint32(1); ; pass++ {
		complete, err := v.follow(ctx, pass, patience)
		if ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("projection: watch of %s: %w", v.stream, err)
		v.lastErr.Store(&err)
		patience = min(2*patience, max(v.patience, watchPatienceMost))
		if complete {
			patience = v.patience
			pauses.Reset()
		}
		if pauses.Wait(ctx) != nil {
			return
		}
	}
}

// follow is one pass: it reads the bucket from its start and goes on until ctx
// ends or something is not as it should be. It returns whether it was complete.
//
// The consumer is a plain one. An ordered consumer would be recreated behind our
// back, from the sequence after the last one seen, and that is not enough here:
// where the broker lost the last writes in a crash, or the bucket was recreated,
// the sequences begin again below it, and what they carry would be skipped.
//
// The consumer of a bucket with replicas lives on any one of their servers and reads
// what that one has. A server that was killed may be far behind the others, for as
// long as it likes, and would present the past as the present: holders would step
// back, or be gone. So a pass begins with a message of its own, which a majority has
// taken (a leader that slept cannot answer for it), and nothing before that message
// counts as what the bucket has. Until then a view that was complete before stays as
// it is; what is new waits in the staging area of the pass.
//
// Nothing here waits for a message that may never come. A consumer that delivers
// nothing, though the bucket has more, is found within two times the pass's
// patience, whatever its heartbeats and its counts of pending messages claim.
func (v *View) follow(ctx context.Context, pass uint32, patience time.Duration) (complete bool, err error) {
	ctx, release := whileConnected(ctx, v.js.Conn())
	defer release()
	defer func() {
		if cause := context.Cause(ctx); errors.Is(cause, errConnection) {
			err = cause
		}
	}()
	mark, err := v.mark(ctx)
	if err != nil {
		return false, err
	}
	reading, err := v.newConsumer(ctx)
	if err != nil {
		return false, err
	}
	defer consumer.Drop(ctx, v.js, v.stream, reading, watchLeave)

	p := newWatchPass(v, pass, mark)
	v.positions.reset()
	consume, err := reading.Consume(func(msg jetstream.Msg) { v.gate.pass(func() { p.handle(msg) }) },
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
	return false, v.attend(ctx, p, patience)
}

// whileConnected returns a context that ends with ctx or when the connection is lost,
// so that nothing waits for the answer to a request that went with it. The cause is
// errConnection then. release must be called.
func whileConnected(ctx context.Context, conn *nats.Conn) (_ context.Context, release func()) {
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lost:
			cancel(errConnection)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
		conn.RemoveStatusListener(lost)
	}
}

// attend does what a pass needs beside the messages that come, until the pass ends
// with an error.
func (v *View) attend(ctx context.Context, p *watchPass, patience time.Duration) error {
	silence := time.NewTicker(patience)
	defer silence.Stop()
	spacing := time.NewTimer(0)
	defer spacing.Stop()
	<-spacing.C
	spaced := true // no check was made within checkSpacing
	for wanted, before := false, uint64(0); ; {
		if wanted && spaced {
			wanted, spaced = false, false
			if err := v.check(ctx, p, patience); err != nil {
				return err
			}
			spacing.Reset(checkSpacing)
		}
		var err error
		select {
		case err = <-p.broken:
		case missing := <-p.missing:
			err = v.sweep(ctx, p, missing)
		case <-p.uncertain:
			wanted = true
		case <-spacing.C:
			spaced = true
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-silence.C:
			received := p.received.Load()
			if received == before {
				// A question that is open now was asked a whole patience ago, or the
				// message of its answer had that long to come.
				err = p.overdue()
				wanted = true
			}
			before = received
		}
		if err != nil {
			return err
		}
	}
}

// check asks where the bucket ends. What was superseded before the newest message
// that the pass had when it asked was superseded by a message before that end.
//
// The stream's leader answers, whose word is as new as a majority's but for a leader
// that was cut off from the others and has not noticed yet.
func (v *View) check(ctx context.Context, p *watchPass, patience time.Duration) error {
	v.gate.pass(p.ask)
	for try := 1; ; try++ {
		end, err := v.end(ctx, patience)
		if err == nil {
			v.gate.pass(func() { err = p.answered(end) })
			return err
		}
		if ctx.Err() != nil || try == checkTries {
			return fmt.Errorf("ask where the bucket ends: %w", err)
		}
	}
}

// end is the last sequence of the bucket.
func (v *View) end(ctx context.Context, patience time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, min(max(checkTimeout, patience/2), patience))
	defer cancel()
	stream, err := v.js.Stream(ctx, v.stream)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// sweep drops what the bucket has no longer: of the holders that have not come in a
// pass, those of whose keys its leader has none. That they have not come is not
// enough: a key that is written again before its turn moves to the end of the bucket.
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
		p.progress()
	})
	return nil
}

// mark puts a message into the bucket and returns its sequence: a reader that has
// seen it has seen all that the bucket had before.
func (v *View) mark(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, watchRequest)
	defer cancel()
	if v.bucket.foreign.watched() {
		return v.bucket.putMark(ctx)
	}
	ack, err := v.js.Publish(ctx, v.prefix+markKey, nil)
	if err != nil {
		return 0, fmt.Errorf("mark the beginning with a message to %s: %w", v.prefix+markKey, err)
	}
	return ack.Sequence, nil
}

func (v *View) newConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, watchRequest)
	defer cancel()
	config := consumer.Config("a view of the snapshots", v.prefix+">", watchIdle)
	config.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	return v.js.CreateConsumer(ctx, v.stream, config)
}
