package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/backoff"
	"holdmetrics/processor"
)

// walk walks the holders of a partition.
type walk struct {
	c         *Comparison
	name      string
	partition int
	page      []holderAnswer
	after     string
	over      bool // there is no page behind this one
}

// at is the holder that the walk is at; nil: it is over.
func (w *walk) at(ctx context.Context) (*holderAnswer, error) {
	if len(w.page) == 0 && !w.over {
		a, err := w.c.ask(ctx, w.name, w.partition, &question{Ask: askHolders, After: w.after})
		if err != nil {
			return nil, err
		}
		w.page, w.over = a.Holders, !a.More
	}
	if len(w.page) == 0 {
		return nil, nil
	}
	return &w.page[0], nil
}

func (w *walk) next() {
	w.after = w.page[0].Holder
	w.page = w.page[1:]
}

// ask asks a worker until it answers, for at most askMost.
func (c *Comparison) ask(ctx context.Context, name string, partition int, q *question) (*answered, error) {
	return ask(ctx, c.Conn, name, partition, q)
}

// ask asks the worker that runs a partition of a generation until it answers, for at
// most askMost.
func ask(ctx context.Context, conn *nats.Conn, name string, partition int, q *question) (*answered, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for {
		within, cancel := context.WithTimeout(ctx, answerWithin+time.Second)
		m, err := conn.RequestWithContext(within, readPrefix+name+"."+strconv.Itoa(partition), text)
		cancel()
		switch {
		case err == nil:
			var a answered
			if err := json.Unmarshal(m.Data, &a); err != nil {
				return nil, fmt.Errorf("generation %s, partition %d: cannot decode the answer to %q: %w", name, partition, q.Ask, err)
			}
			if a.Error != "" {
				return nil, fmt.Errorf("generation %s, partition %d: %s", name, partition, a.Error)
			}
			return &a, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, nats.ErrConnectionClosed):
			return nil, err
		case time.Since(began) > askMost:
			return nil, fmt.Errorf("%w: generation %s, partition %d: nobody answered %q for %v: check that a worker runs that has it", ErrSilent, name, partition, q.Ask, askMost)
		}
		if err := backoff.Wait(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}

// awaitApplied waits until the store of a generation has a position of a partition. It
// gives up when the partition has not moved for stalledAfter.
func (c *Comparison) awaitApplied(ctx context.Context, name string, partition int, position uint64) error {
	applied := processor.Applied(c.Conn, name)
	var last Watermark
	moved, heard := time.Now(), ""
	for {
		within, cancel := context.WithTimeout(ctx, c.stalledAfter/4)
		err := applied(within, partition, position)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		within, cancel = context.WithTimeout(ctx, answerSoon)
		a, err := c.ask(within, name, partition, &question{Ask: askReach})
		cancel()
		if err == nil && a.Reach != nil {
			heard = fmt.Sprintf("applied %d, stored %d", a.Reach.Position, a.Reach.Stored)
			if *a.Reach != last {
				moved, last = time.Now(), *a.Reach
			}
		}
		if quiet := time.Since(moved); quiet >= c.stalledAfter {
			return &StalledError{Generation: name, Partition: partition, Wanted: position, Reached: last.Stored, For: quiet, Heard: heard}
		}
	}
}
