package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
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

// ask asks until somebody answers.
func (c *Comparison) ask(ctx context.Context, name string, partition int, q *question) (*answered, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for {
		within, cancel := context.WithTimeout(ctx, answerWithin+time.Second)
		m, err := c.Conn.RequestWithContext(within, readPrefix+name+"."+strconv.Itoa(partition), text)
		cancel()
		switch {
		case err == nil:
			var a answered
			if err := json.Unmarshal(m.Data, &a); err != nil {
				return nil, fmt.Errorf("generation: the answer about generation %s is not to be read: %w", name, err)
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
			return nil, fmt.Errorf("%w: generation %s, partition %d (hint: does a worker run that has it?)", ErrSilent, name, partition)
		}
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}
