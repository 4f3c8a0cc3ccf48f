package query

import (
	"container/heap"
	"context"
	"errors"
	"sync"

	"holdmetrics/internal/fair"
	"holdmetrics/projection"
)

const (
	// stretch is how many rows a partition hands over at once. A partition is read at
	// most two stretches ahead of the client, whatever its size. So a client that does not
	// read has about a megabyte of rows of 16 partitions waiting for it.
	stretch = 128
	// pairsAtOnce is how many pairs are read in one turn. Between two turns a partition
	// is not read, and nothing is kept but its view.
	pairsAtOnce = 2 * stretch
)

// source is one partition's rows, in order.
type source struct {
	rows chan []Row
	err  error // why rows was closed; valid once it is

	current []Row
}

// next makes the next row the first of current; false at the end. Where it has to wait
// for the partition, it leaves the turn to it.
func (s *source) next(ctx context.Context, turn *fair.Turn) (bool, error) {
	if len(s.current) > 1 {
		s.current = s.current[1:]
		return true, nil
	}
	var rows []Row
	var ok bool
	select {
	case rows, ok = <-s.rows:
	default:
		turn.Leave()
		rows, ok = <-s.rows
		if err := turn.Enter(ctx); err != nil {
			return false, err
		}
	}
	if !ok {
		return false, s.err
	}
	s.current = rows
	return true, nil
}

// sources is a heap by the first row's holder. A holder is in one partition only,
// so tokens need no comparing.
type sources []*source

func (h sources) Len() int           { return len(h) }
func (h sources) Less(i, j int) bool { return h[i].current[0].Holder < h[j].current[0].Holder }
func (h sources) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)        { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// mergeScores merges the partitions, each of which is in order, into one order
// over all holders.
func (s *Service) mergeScores(ctx context.Context, q ScoreQuery, views []projection.PartitionView, emit func(*Row) error) error {
	reading, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer func() {
		cancel()
		readers.Wait() // before the views are closed
	}()
	all := make([]*source, len(views))
	for i, view := range views {
		from := &source{rows: make(chan []Row)}
		all[i] = from
		readers.Go(func() {
			defer close(from.rows)
			from.err = s.readPartition(reading, view, q, from.rows)
		})
	}
	turn, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer turn.Leave()
	return mergeRows(ctx, all, turn, pausing(ctx, turn, emit))
}

func mergeRows(ctx context.Context, all []*source, turn *fair.Turn, emit func(*Row) error) error {
	var h sources
	for _, s := range all {
		if ok, err := s.next(ctx, turn); err != nil {
			return err
		} else if ok {
			h = append(h, s)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := emit(&h[0].current[0]); err != nil {
			return err
		}
		ok, err := h[0].next(ctx, turn)
		switch {
		case err != nil:
			return err
		case ok:
			heap.Fix(&h, 0)
		default:
			heap.Pop(&h)
		}
	}
	return nil
}

// errTurnOver ends a walk whose turn is over, so that nothing is kept open meanwhile.
var errTurnOver = errors.New("the turn is over")

// readPartition sends the rows of a partition in stretches.
func (s *Service) readPartition(ctx context.Context, view projection.PartitionView, q ScoreQuery, out chan<- []Row) error {
	applied, turn := appliedThrough(view), s.gates.turns.Turn(ClientOf(ctx))
	defer turn.Leave()
	rows := make([]Row, 0, stretch)
	var (
		sum   Row // of the holder under way, without byToken
		after projection.PairKey
	)
	take := func(r *projection.PairRecord) error {
		row, err := pairRow(r, q)
		if err != nil {
			return err
		}
		if !q.ByToken && sum.Holder == after.Holder {
			sum.add(&row)
			return nil
		}
		row.Holder, row.Applied = after.Holder, applied
		if q.ByToken {
			row.Token = after.Token
			rows = append(rows, row)
		} else if sum.Holder != "" {
			rows = append(rows, sum)
		}
		sum = row
		return nil
	}
	for more := true; more; {
		if err := turn.Enter(ctx); err != nil {
			return err
		}
		var err error
		more, err = view.PairsAfter(ctx, after, pairsAtOnce, func(r *projection.PairRecord) error {
			after.Holder, after.Token = keep(r.Key.Holder, after.Holder), keep(r.Key.Token, after.Token)
			if q.Token == "" || r.Key.Token == q.Token {
				if err := take(r); err != nil {
					return err
				}
			}
			if turn.Over() {
				return errTurnOver
			}
			return nil
		})
		switch {
		case err == errTurnOver:
			more = true
		case err != nil:
			return err
		}
		turn.Leave()
		if !more && !q.ByToken && sum.Holder != "" {
			rows = append(rows, sum)
		}
		for len(rows) >= stretch || !more && len(rows) > 0 {
			n := min(stretch, len(rows))
			select {
			case out <- rows[:n:n]:
				rows = append(make([]Row, 0, stretch), rows[n:]...)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
