package processor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/backoff"
)

// A gateway in another process asks the owner of a partition to store what is
// applied, and is answered when the store has it:
//
//	hold.applied.<generation>.<partition>   request: a position, decimal; answer: empty, or why not
//
// All workers hear it, the owner answers. An owner that changes meanwhile is
// asked again, so a request that nobody answers is only slow.
const appliedPrefix = "hold.applied."

const (
	// appliedWithin is how long one question waits for its answer before it is
	// asked again.
	appliedWithin = 2 * time.Second
	// appliedAgain is the pause before that where nobody was there, or the owner
	// stopped.
	appliedAgain = 50 * time.Millisecond
	// appliedAtOnce bounds how many questions wait at one worker.
	appliedAtOnce = 1024
)

// AnswerApplied answers the questions of [Applied] for the partitions of this
// worker until stop is called, which waits for the last answer.
func (w *Worker) AnswerApplied(conn *nats.Conn, generation string) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var answers sync.WaitGroup
	places := make(chan struct{}, appliedAtOnce)
	sub, err := conn.Subscribe(appliedPrefix+generation+".*", func(m *nats.Msg) {
		partition, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || !w.Runs(partition) {
			return
		}
		position, err := strconv.ParseUint(string(m.Data), 10, 64)
		if err != nil {
			_ = m.Respond([]byte("no position"))
			return
		}
		select {
		case places <- struct{}{}:
		default:
			return // it is asked again
		}
		answers.Go(func() {
			defer func() { <-places }()
			within, cancel := context.WithTimeout(ctx, appliedWithin)
			defer cancel()
			switch err := w.WaitApplied(within, partition, position); {
			case err == nil:
				_ = m.Respond(nil)
			case within.Err() == nil && !errors.Is(err, ErrStopped):
				_ = m.Respond([]byte(err.Error()))
			}
		})
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("processor: subscribe to questions of gateways: %w", err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	return func() {
		cancel()
		if sub.Unsubscribe() == nil {
			<-ended // the last message was handed out
		}
		answers.Wait()
	}, nil
}

// Runs reports whether the worker runs a partition just now.
func (w *Worker) Runs(partition int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[partition] != nil
}

// Applied returns a function for gateways in other processes than the worker: it
// returns when the store has a position of a partition. It asks for as long as its
// context lasts, and returns a [*WaitError] then.
func Applied(conn *nats.Conn, generation string) func(ctx context.Context, partition int, position uint64) error {
	return func(ctx context.Context, partition int, position uint64) error {
		subject := appliedPrefix + generation + "." + strconv.Itoa(partition)
		question := strconv.AppendUint(nil, position, 10)
		last := errors.New("no answer")
		unreached := func() error {
			return &WaitError{Partition: partition, Wanted: position, LastHeard: "the owner of the partition", LastError: last, Cause: context.Cause(ctx)}
		}
		for {
			within, cancel := context.WithTimeout(ctx, appliedWithin)
			answer, err := conn.RequestWithContext(within, subject, question)
			cancel()
			switch {
			case err == nil && len(answer.Data) == 0:
				return nil
			case err == nil:
				return fmt.Errorf("processor: the owner of partition %d: %s", partition, answer.Data)
			case ctx.Err() != nil:
				return unreached()
			case errors.Is(err, nats.ErrConnectionClosed):
				return err
			}
			last = err
			if backoff.Wait(ctx, appliedAgain) != nil {
				return unreached()
			}
		}
	}
}
