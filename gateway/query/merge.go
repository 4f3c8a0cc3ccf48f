package query

import (
	"container/heap"
	"context"
	"sync"

	"holdmetrics/projection"
)

// stretch is how many rows a partition hands over at once. A partition is read at
// most two stretches ahead of the client, whatever its size.
const stretch = 256

// source is one partition's rows, in order.
type source struct {
	rows chan []Row
	err  error // why rows was closed; valid once it is

	current []Row
}

// next makes the next row the first of current; false at the end.
func (s *source) next() (bool, error) {
	if len(s.current) > 1 {
		s.current = s.current[1:]
		return true, nil
	}
	rows, ok := <-s.rows
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
func mergeScores(ctx context.Context, q ScoreQuery, views []projection.PartitionView, emit func(*Row) error) error {
	reading, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer func() {
		cancel()
		readers.Wait() // before the views are closed
	}()
	all := make([]*source, len(views))
	for i, view := range views {
		s := &source{rows: make(chan []Row, 1)}
		all[i] = s
		readers.Go(func() {
			defer close(s.rows)
			s.err = readPartition(reading, view, q, s.rows)
		})
	}
	return mergeRows(all, emit)
}

func mergeRows(all []*source, emit func(*Row) error) error {
	var h sources
	for _, s := range all {
		if ok, err := s.next(); err != nil {
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
		ok, err := h[0].next()
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

// readPartition sends the rows of a partition in stretches.
func readPartition(ctx context.Context, view projection.PartitionView, q ScoreQuery, out chan<- []Row) error {
	applied := appliedThrough(view)
	var rows []Row
	hand := func() error {
		select {
		case out <- rows:
			rows = make([]Row, 0, stretch)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var sum Row // of the holder under way, without byToken
	err := view.AllPairs(ctx, func(r *projection.PairRecord) error {
		if q.Token != "" && r.Key.Token != q.Token {
			return nil
		}
		row, err := pairRow(r, q)
		if err != nil {
			return err
		}
		if !q.ByToken && sum.Holder == r.Key.Holder {
			sum.add(&row)
			return nil
		}
		// Only between holders or tokens, so that no sum is handed over unfinished.
		if len(rows) == stretch {
			if err := hand(); err != nil {
				return err
			}
		}
		row.Holder, row.Applied = keep(r.Key.Holder, sum.Holder), applied
		if q.ByToken {
			row.Token = keep(r.Key.Token, sum.Token)
			rows = append(rows, row)
		} else if sum.Holder != "" {
			rows = append(rows, sum)
		}
		sum = row
		return nil
	})
	if err != nil {
		return err
	}
	if !q.ByToken && sum.Holder != "" {
		rows = append(rows, sum)
	}
	if len(rows) > 0 {
		return hand()
	}
	return nil
}
