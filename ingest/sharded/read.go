package sharded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"holdmetrics/ingest/rows"
)

// RoundBlocks is how many blocks a round has at most.
const RoundBlocks = 8

const blockBytes = 1 << 20

// Job parses the rows of one file.
type Job interface {
	// Next reads the next block of the file, as [rows.Blocks.Next] does. Its errors come to
	// match [ErrPlain].
	Next(buf []byte) (rows.Block, []byte, error)
	// Parse parses a block, the slot-th of its round, into an empty batch. Workers have
	// numbers below Config.Cores, and each is used by one goroutine at a time.
	Parse(worker, slot int, block rows.Block, into *Batch) error
	// Join is called once the first n slots of a round are parsed.
	Join(n int) error
	// Shard is called with each shard below [Shards] afterwards, concurrently.
	Shard(shard, n int) error
}

// round is the blocks that are read at once.
type round struct {
	blocks  [RoundBlocks]rows.Block
	buffers [RoundBlocks][]byte
	n       int
	last    bool
	err     error
}

// fill reads the next blocks.
func (r *round) fill(ctx context.Context, job Job, size int) {
	r.n, r.last, r.err = 0, false, nil
	for r.n < RoundBlocks {
		if r.err = ctx.Err(); r.err != nil {
			return
		}
		if r.buffers[r.n] == nil {
			r.buffers[r.n] = make([]byte, size)
		}
		r.blocks[r.n], r.buffers[r.n], r.err = job.Next(r.buffers[r.n])
		if r.err == io.EOF {
			r.last, r.err = true, nil
			return
		}
		if r.err != nil {
			r.err = fmt.Errorf("%w: %w", ErrPlain, r.err)
			return
		}
		r.n++
	}
}

// Reader reads files into a set, one after the other. It keeps the buffers. It is not
// safe for concurrent use.
type Reader struct {
	set     *Set
	rounds  [2]round
	batches [RoundBlocks]Batch
}

// Reader returns a reader of files.
func (s *Set) Reader() *Reader {
	r := &Reader{set: s}
	for i := range r.batches {
		r.batches[i].seed = s.seed
	}
	return r
}

// Read reads a file. It returns an error of the job, that of the context, or one that
// matches [ErrPlain], or for which [Follows] is false. After an error the set is good for
// nothing.
func (r *Reader) Read(ctx context.Context, job Job) error {
	full, empty := make(chan *round, 1), make(chan *round, 2)
	for i := range r.rounds {
		empty <- &r.rounds[i]
	}
	ctx, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(full)
		for next := range empty {
			next.fill(ctx, job, cmp.Or(r.set.config.BlockBytes, blockBytes))
			full <- next
			if next.last || next.err != nil {
				return
			}
		}
	})
	err := r.rest(ctx, job, full, empty)
	stop()
	close(empty)
	for range full { // the reader may have one more round
	}
	reading.Wait()
	return err
}

func (r *Reader) rest(ctx context.Context, job Job, full <-chan *round, empty chan<- *round) error {
	for next := range full {
		err := r.round(ctx, job, next)
		if err != nil || next.last {
			return err
		}
		empty <- next
	}
	return errors.New("the reading ended early")
}

func (r *Reader) round(ctx context.Context, job Job, next *round) error {
	if next.err != nil {
		return next.err
	}
	cores := r.set.config.Cores
	err := each(cores, next.n, func(worker, slot int) error {
		r.batches[slot].reset()
		return job.Parse(worker, slot, next.blocks[slot], &r.batches[slot])
	})
	if err == nil {
		err = job.Join(next.n)
	}
	if err == nil {
		err = each(cores, Shards, func(_, i int) error {
			if err := job.Shard(i, next.n); err != nil {
				return err
			}
			for slot := range next.n {
				if err := r.set.shards[i].apply(&r.batches[slot].lists[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Finish ends the reading of all files. at is the instant of the live amounts: that of
// the question or, if that is the latest of all, one that no row is after.
func (s *Set) Finish(at int64) error {
	s.config.Question.At = at
	return each(s.config.Cores, Shards, func(_, i int) error { return s.shards[i].finish() })
}

// each calls f(worker, i) for i from 0 to n-1 on some goroutines, and returns the first
// error in the order of i, of the calls that were made. After an error no others begin.
func each(workers, n int, f func(worker, i int) error) error {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, n)
	var working sync.WaitGroup
	for worker := range min(workers, n) {
		working.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = f(worker, i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	working.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
