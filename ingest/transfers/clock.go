package transfers

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
)

// maxSeconds is the latest time in seconds.
const maxSeconds = hold.MaxTime / 1e9

// parseTime reads a time in nanoseconds since the epoch.
func (o *Options) parseTime(s string) (int64, error) {
	t, err := o.Times.Parse(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %s", ErrTime, strings.TrimPrefix(err.Error(), hold.ErrTime.Error()+": "))
	case !t.Set:
		return 0, fmt.Errorf("%w: it is empty", ErrTime)
	case t.Seconds < 0 || t.Seconds == 0 && t.Nanos == 0 || t.Seconds > maxSeconds || t.Seconds == maxSeconds && t.Nanos > 0:
		return 0, fmt.Errorf("%w: %s", ErrTime, rows.Quote(s))
	}
	return t.Seconds*1e9 + int64(t.Nanos), nil
}

// isForever reports whether a time stands for an open end: empty, or in the year 9999.
func (o *Options) isForever(s string) bool { return s == "" || strings.HasPrefix(s, "9999-") }

// clock returns the times of rows: of their column, or of their blocks.
type clock struct {
	opt    *Options
	blocks map[uint64]int64 // ns

	lastText string // rows of one block stand together
	last     int64
}

// load reads the times of blocks.
func (c *clock) load() error {
	if len(c.opt.Blocks) == 0 {
		return nil
	}
	c.blocks = make(map[uint64]int64)
	for _, name := range c.opt.Blocks {
		if err := c.read(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *clock) read(name string) error {
	table, err := rows.OpenTable(name, nil)
	if err != nil {
		return err
	}
	defer table.Close()
	find := finder{header: table.Header()}
	number := find.need("", []string{"number", "block_number", "blockNumber", "block"}, "blocks")
	at := find.need("", []string{"timestamp", "block_timestamp", "time", "block_time"}, "blocks")
	if find.err != nil {
		return &rows.Error{Place: rows.Place{File: table.File(), Line: 1}, Err: find.err}
	}
	for {
		row, place, err := table.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := blockNumber(row[number])
		if err != nil {
			return &rows.Error{Place: place, Err: err}
		}
		ns, err := c.opt.parseTime(row[at])
		if err != nil {
			return &rows.Error{Place: place, Err: err}
		}
		if before, ok := c.blocks[n]; ok && before != ns {
			return &rows.Error{Place: place, Err: fmt.Errorf("%w: block %d has two times, %s and %s", ErrBlock, n, formatTime(before), formatTime(ns))}
		}
		c.blocks[n] = ns
	}
}

func blockNumber(s string) (uint64, error) {
	d, err := numbers.Parse(s)
	if err == nil {
		var n int64
		if n, err = d.Int64(); err == nil && n >= 0 {
			return uint64(n), nil
		}
	}
	return 0, fmt.Errorf("%w: %s is not the number of a block", ErrBlock, rows.Quote(s))
}

// of returns the time of a row.
func (c *clock) of(row []string, m *mapping) (int64, error) {
	switch {
	case c.opt.ByBlock:
		n, err := blockNumber(row[m.block])
		if err != nil {
			return 0, err
		}
		if n == 0 || n > uint64(maxSeconds) {
			return 0, fmt.Errorf("%w: block %d cannot be counted as a second", ErrBlock, n)
		}
		return int64(n) * 1e9, nil
	case m.time < 0:
		n, err := blockNumber(row[m.block])
		if err != nil {
			return 0, err
		}
		ns, ok := c.blocks[n]
		if !ok {
			return 0, fmt.Errorf("%w: %d is not in %s", ErrBlock, n, rows.List(slices.Clone(c.opt.Blocks)))
		}
		return ns, nil
	}
	text := row[m.time]
	if text == c.lastText && text != "" {
		return c.last, nil
	}
	ns, err := c.opt.parseTime(text)
	if err == nil {
		c.lastText, c.last = text, ns
	}
	return ns, err
}
