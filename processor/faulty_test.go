package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// logOp names something that a partition wants of the log.
type logOp string

const (
	opEnd        logOp = "End"
	opLook       logOp = "Look"
	opDeadLetter logOp = "PublishDeadLetters"
	opAfter      logOp = "AfterLetter" // the dead letter was stored: an error is an answer that got lost
	opRead       logOp = "read"
	opMessage    logOp = "message" // one is about to be handed on; a hook that blocks makes the log slow
)

// What a hook answers beside plain errors.
var (
	// errStale: End and Look answer with half of what is true, as a broker does that
	// led the log once.
	errStale = errors.New("an old answer")
	// errRedeliver: before the message come the last ones once more.
	errRedeliver = errors.New("redelivered")
	// errCut: the connection breaks before the message, and reading begins again.
	errCut = errors.New("cut")
)

// faultyLog is a log that fails and stalls on command.
type faultyLog struct {
	eventLog // what it stands on

	mu   sync.Mutex
	hook func(ctx context.Context, op logOp, partition int) error
}

// setHook asks hook about everything from now on; nil: no one.
func (l *faultyLog) setHook(hook func(ctx context.Context, op logOp, partition int) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

func (l *faultyLog) ask(ctx context.Context, op logOp, partition int) error {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op, partition)
}

func (l *faultyLog) End(ctx context.Context, partition int) (uint64, error) {
	err := l.ask(ctx, opEnd, partition)
	if err != nil && !errors.Is(err, errStale) {
		return 0, err
	}
	end, truly := l.eventLog.End(ctx, partition)
	if err != nil {
		end /= 2
	}
	return end, truly
}

func (l *faultyLog) Look(ctx context.Context) (string, uint64, error) {
	err := l.ask(ctx, opLook, -1)
	if err != nil && !errors.Is(err, errStale) {
		return "", 0, err
	}
	id, last, truly := l.eventLog.Look(ctx)
	if err != nil {
		last /= 2
	}
	return id, last, truly
}

func (l *faultyLog) PublishDeadLetters(ctx context.Context, deadLetters []ingest.DeadLetter) error {
	partition := deadLetters[0].Partition
	if err := l.ask(ctx, opDeadLetter, partition); err != nil {
		return err
	}
	if err := l.eventLog.PublishDeadLetters(ctx, deadLetters); err != nil {
		return err
	}
	return l.ask(ctx, opAfter, partition)
}

// relay is one reading of a partition through a faultyLog.
type relay struct {
	log       *faultyLog
	ctx       context.Context // of the hook: ends with the reading
	partition int
	in        *prefetchBuffer
	logger    *zap.Logger

	from  *prefetchBuffer // what the log under it fills
	stop  func()
	after uint64
	past  []message // the last ones that were handed on
}

func (l *faultyLog) read(ctx context.Context, partition int, after uint64, in *prefetchBuffer, logger *zap.Logger) (func(), error) {
	if err := l.ask(ctx, opRead, partition); err != nil {
		return nil, err
	}
	reading, cancel := context.WithCancel(context.Background())
	r := &relay{log: l, ctx: reading, partition: partition, in: in, logger: logger, after: after}
	if err := r.begin(); err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for r.some() {
		}
		r.end()
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

func (r *relay) begin() (err error) {
	r.from = newPrefetchBuffer(prefetchBytes)
	r.stop, err = r.log.eventLog.read(r.ctx, r.partition, r.after, r.from, r.logger)
	return err
}

func (r *relay) end() {
	r.from.close()
	r.stop()
}

// some hands on what there is, and reports whether to go on.
func (r *relay) some() bool {
	select {
	case <-r.ctx.Done():
		return false
	case <-r.from.ready:
	}
	for _, m := range r.from.take() {
		switch err := r.log.ask(r.ctx, opMessage, r.partition); {
		case errors.Is(err, errRedeliver):
			for _, again := range r.past {
				if !r.in.put(again) {
					return false
				}
			}
		case errors.Is(err, errCut):
			r.end()
			return r.begin() == nil // with this message
		}
		if !r.in.put(m) {
			return false
		}
		r.after = m.position
		if r.past = append(r.past, m); len(r.past) > 5 {
			r.past = r.past[1:]
		}
	}
	return true
}

// bucketOp names something that a partition wants of the bucket.
type bucketOp string

const (
	opPublish      bucketOp = "Publish"
	opAfterPublish bucketOp = "AfterPublish" // it was published: an error is an answer that got lost
	opPosition     bucketOp = "Position"
	opOwed         bucketOp = "Owed"
	opSetOwed      bucketOp = "SetOwed"
)

// errSome is what a hook answers opPublish with so that the first half of the
// snapshots is taken, and no position, before the publish fails.
var errSome = errors.New("some snapshots were taken")

// faultyBucket is a bucket that fails and stalls on command.
type faultyBucket struct {
	snapshots // what it stands on

	mu   sync.Mutex
	hook func(ctx context.Context, op bucketOp, partition int) error
}

func (b *faultyBucket) setHook(hook func(ctx context.Context, op bucketOp, partition int) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

func (b *faultyBucket) ask(ctx context.Context, op bucketOp, partition int) error {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op, partition)
}

func (b *faultyBucket) Publish(ctx context.Context, partition int, entries []projection.Entry, to projection.Reached) error {
	err := b.ask(ctx, opPublish, partition)
	if errors.Is(err, errSome) {
		at, failed := b.snapshots.Position(ctx, partition)
		if failed != nil {
			return failed
		}
		if failed := b.snapshots.Publish(ctx, partition, entries[:len(entries)/2], projection.Reached{Position: at}); failed != nil {
			return failed
		}
	}
	if err != nil {
		return err
	}
	if err := b.snapshots.Publish(ctx, partition, entries, to); err != nil {
		return err
	}
	return b.ask(ctx, opAfterPublish, partition)
}

func (b *faultyBucket) Position(ctx context.Context, partition int) (uint64, error) {
	if err := b.ask(ctx, opPosition, partition); err != nil {
		return 0, err
	}
	return b.snapshots.Position(ctx, partition)
}

func (b *faultyBucket) Owed(ctx context.Context, partition int) (bool, error) {
	if err := b.ask(ctx, opOwed, partition); err != nil {
		return false, err
	}
	return b.snapshots.Owed(ctx, partition)
}

func (b *faultyBucket) SetOwed(ctx context.Context, partition int, owed bool) error {
	if err := b.ask(ctx, opSetOwed, partition); err != nil {
		return fmt.Errorf("owed %t: %w", owed, err)
	}
	return b.snapshots.SetOwed(ctx, partition, owed)
}
