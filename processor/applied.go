package processor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/responder"
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
// worker until stop is called, which waits for the last answer, or until its context ends.
func (w *Worker) AnswerApplied(conn *nats.Conn, generation string) (stop func(context.Context) error, err error) {
	o := responder.Options{AtOnce: appliedAtOnce, Within: appliedWithin}
	r, err := responder.Start(conn, appliedPrefix+generation+".*", o, func(m *nats.Msg) func(context.Context) {
		partition, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || !w.Runs(partition) {
			return nil
		}
		position, err := strconv.ParseUint(string(m.Data), 10, 64)
		if err != nil {
			_ = m.Respond([]byte("no position"))
			return nil
		}
		return func(ctx context.Context) {
			switch err := w.WaitApplied(ctx, partition, position); {
			case err == nil:
				_ = m.Respond(nil)
			case ctx.Err() == nil && !errors.Is(err, ErrStopped):
				_ = m.Respond([]byte(err.Error()))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("processor: subscribe to questions of gateways: %w", err)
	}
	return r.Stop, nil
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
