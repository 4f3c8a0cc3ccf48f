package transfers

import (
	"fmt"
	"io"
	"slices"

	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
)

// loadBlocks reads the times of blocks, in nanoseconds.
func (l *Ledger) loadBlocks() error {
	if len(l.opt.Blocks) == 0 {
		return nil
	}
	l.blocks = make(map[uint64]int64)
	for _, name := range l.opt.Blocks {
		if err := l.readBlocks(name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) readBlocks(name string) error {
	f, err := rows.Open(name, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := rows.NewTable(f)
	if err != nil {
		return err
	}
	defer table.Close()
	find := finder{header: table.Header()}
	number := find.need("", []string{"number", "block_number", "blockNumber", "block"}, "blocks")
	at := find.need("", []string{"timestamp", "block_timestamp", "time", "block_time"}, "blocks")
	if find.err != nil {
		return &rows.Error{Place: rows.Place{File: f.Name(), Line: 1}, Err: find.err}
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
		ns, err := l.opt.parseTime(row[at])
		if err != nil {
			return &rows.Error{Place: place, Err: err}
		}
		if before, ok := l.blocks[n]; ok && before != ns {
			return &rows.Error{Place: place, Err: fmt.Errorf("%w: block %d has two times, %s and %s", ErrBlock, n, formatTime(before), formatTime(ns))}
		}
		l.blocks[n] = ns
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

// rowTime is the time of a row.
func (l *Ledger) rowTime(row []string, m *mapping) (int64, error) {
	switch {
	case l.opt.ByBlock:
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
		ns, ok := l.blocks[n]
		if !ok {
			return 0, fmt.Errorf("%w: %d is not in %s", ErrBlock, n, rows.List(slices.Clone(l.opt.Blocks)))
		}
		return ns, nil
	}
	text := row[m.time]
	if text == l.lastTimeText && text != "" {
		return l.lastTime, nil // rows of one block stand together
	}
	ns, err := l.opt.parseTime(text)
	if err == nil {
		l.lastTimeText, l.lastTime = text, ns
	}
	return ns, err
}
