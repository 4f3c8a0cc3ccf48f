package transfers

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

// pair is a token and a holder; both strings are those of Ledger.names.
type pair struct{ token, holder string }

// account is what a pair has and since when.
type account struct {
	balance uint256.Int // units of 1e-18; never 0 in the ledger
	since   int64       // ns
}

// change is what the rows of one timestamp do to a pair.
type change struct {
	in, out uint256.Int
	place   rows.Place // of the last row that touched the pair
}

// Ledger keeps balances while rows go by. It is not safe for concurrent use,
// and after an error it is good for nothing.
type Ledger struct {
	opt      Options
	accounts map[pair]account
	names    map[string]string // every token and holder once
	supply   map[string]int    // NFT: owners of a token, 0 or 1; absent: 0
	opened   bool
	openedAt int64 // ns: the opening balances hold what happened up to and with it

	at      int64 // ns, of the rows in changes
	changes map[pair]*change
	spare   []*change
	order   []pair // the keys of changes; the map, once grown, is slow to walk
	rows    int64
}

// New makes an empty ledger.
func New(opt Options) (*Ledger, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	return &Ledger{
		opt:      opt,
		accounts: make(map[pair]account),
		names:    make(map[string]string),
		supply:   make(map[string]int),
		changes:  make(map[pair]*change),
	}, nil
}

// Rows is how many rows of transfers were read.
func (l *Ledger) Rows() int64 { return l.rows }

// Events reads the files, one after the other as if they were one, and yields
// the events that they come to: those of one timestamp by token, then holder,
// the end before the new start. Opening balances come first, as the open holds
// that they are. An error is the last thing yielded; it names file and line.
func (l *Ledger) Events(ctx context.Context, files ...string) iter.Seq2[rows.Event, error] {
	return func(yield func(rows.Event, error) bool) {
		emit := func(e rows.Event) bool { return yield(e, nil) }
		if !l.emitOpening(emit) {
			return
		}
		for _, name := range files {
			more, err := l.readFile(ctx, name, emit)
			if err != nil {
				yield(rows.Event{}, err)
				return
			}
			if !more {
				return
			}
		}
		if _, err := l.settle(emit); err != nil {
			yield(rows.Event{}, err)
		}
	}
}

// columns is the indexes of the columns.
type columns struct{ token, from, to, value, time int }

func (l *Ledger) readFile(ctx context.Context, name string, emit func(rows.Event) bool) (more bool, err error) {
	f, err := rows.Open(name, l.opt.Read)
	if err != nil {
		return false, err
	}
	defer f.Close()
	table, err := rows.NewTable(f)
	if err != nil {
		return false, err
	}
	cols, err := l.findColumns(table)
	if err != nil {
		return false, err
	}
	for {
		if l.rows%1024 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		row, place, err := table.Next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		l.rows++
		at, err := parseTime(row[cols.time])
		if err != nil {
			return false, &rows.Error{Place: place, Err: fmt.Errorf("%w: %s", err, rows.Quote(row[cols.time]))}
		}
		if at != l.at {
			if at < l.at {
				return false, &rows.Error{Place: place, Err: fmt.Errorf("%w; sort the rows by %s, and give several files in the order of their times", ErrOrder, l.opt.Columns.Time)}
			}
			if l.opened && at <= l.openedAt {
				return false, &rows.Error{Place: place, Err: fmt.Errorf("%w: they already hold what happened up to %s; give only later rows, and keep the rows of one timestamp in one file", ErrOpening, formatTime(l.openedAt))}
			}
			if more, err := l.settle(emit); !more || err != nil {
				return false, err
			}
			l.at = at
		}
		if err := l.apply(row, &cols, place); err != nil {
			return false, &rows.Error{Place: place, Err: err}
		}
	}
}

func (l *Ledger) findColumns(t *rows.Table) (c columns, err error) {
	for _, want := range []struct {
		index *int
		name  string
		flag  string
	}{
		{&c.token, l.opt.Columns.Token, "token"},
		{&c.from, l.opt.Columns.From, "from"},
		{&c.to, l.opt.Columns.To, "to"},
		{&c.value, l.opt.Columns.Value, "value"},
		{&c.time, l.opt.Columns.Time, "time"},
	} {
		if *want.index, err = t.Column(want.name); err != nil {
			return c, fmt.Errorf("%w; name the column of the %s", err, want.flag)
		}
	}
	return c, nil
}

// apply adds a row to the changes of its timestamp.
func (l *Ledger) apply(row []string, c *columns, place rows.Place) error {
	token, from, to, text := row[c.token], row[c.from], row[c.to], row[c.value]
	if token == "" || from == "" || to == "" {
		return ErrAddress
	}
	var value uint256.Int
	if l.opt.NFT {
		if strings.Trim(text, "0123456789") != "" || text == "" {
			return fmt.Errorf("%w: an NFT's id is digits, not %s", ErrValue, rows.Quote(text))
		}
		token, value = token+"/"+text, *oneUnit
	} else {
		var err error
		if value, err = parseValue(text, l.opt.Decimals); err != nil {
			return fmt.Errorf("%w: %s with %d decimals", err, rows.Quote(text), l.opt.Decimals)
		}
	}
	// A transfer to oneself goes in and out and so nets to zero.
	if !isZeroAddress(from) {
		c := l.change(token, from, place)
		if _, over := c.out.AddOverflow(&c.out, &value); over {
			return ErrTooLarge
		}
	}
	if !isZeroAddress(to) {
		c := l.change(token, to, place)
		if _, over := c.in.AddOverflow(&c.in, &value); over {
			return ErrTooLarge
		}
	}
	return nil
}

// oneUnit is the weight 1.
var oneUnit = uint256.NewInt(1_000_000_000_000_000_000)

// change is the change of a pair in this timestamp.
func (l *Ledger) change(token, holder string, place rows.Place) *change {
	// The map is asked with the row's own strings; what it keeps is cloned.
	key := pair{token, holder}
	c := l.changes[key]
	if c == nil {
		key = pair{l.name(token), l.name(holder)}
		if n := len(l.spare); n > 0 {
			c, l.spare = l.spare[n-1], l.spare[:n-1]
			*c = change{}
		} else {
			c = new(change)
		}
		l.changes[key] = c
		l.order = append(l.order, key)
	}
	c.place = place
	return c
}

// name is the one copy of a string that the ledger keeps.
func (l *Ledger) name(s string) string {
	if kept, ok := l.names[s]; ok {
		return kept
	}
	kept := strings.Clone(s)
	l.names[kept] = kept
	return kept
}
