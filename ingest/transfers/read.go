package transfers

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

// readFile reads a file of transfers, or of statements by the columns of c.
func (l *Ledger) readFile(ctx context.Context, name string, statements bool, c *Columns, more flags, read func(int)) error {
	table, err := rows.OpenTable(name, read)
	if err != nil {
		return err
	}
	defer table.Close()
	mapped := func() (*mapping, error) {
		if statements {
			return l.opt.mapStatements(table.Header(), c)
		}
		return l.opt.mapTransfers(table.Header())
	}
	m, err := mapped()
	if err != nil {
		return &rows.Error{Place: rows.Place{File: table.File(), Line: 1}, Err: err}
	}
	if len(l.files) > 1<<16-2 {
		return errors.New("too many files in one call")
	}
	l.files = append(l.files, table.File())
	l.noteColumns(table.File(), table.Header(), m)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row, place, err := table.Next()
		if err == io.EOF {
			l.summary.Headers += table.Repeated()
			return nil
		}
		if err != nil {
			return err
		}
		if len(row) > m.width {
			if m, err = mapped(); err != nil {
				return &rows.Error{Place: place, Err: err}
			}
		}
		l.rows++
		if statements {
			err = l.readStatement(row, m, place, more)
		} else {
			err = l.readTransfer(row, m, place)
		}
		if err != nil {
			return err
		}
	}
}

func (l *Ledger) readTransfer(row []string, m *mapping, place rows.Place) error {
	k, known := parseKind(cell(row, m.kind))
	if k == kindNone {
		l.summary.Coins++
		return nil
	}
	info, err := l.contracts.ofRow(row, m)
	if err != nil {
		return &rows.Error{Place: place, Err: err}
	}
	if !info.selected {
		l.summary.Unselected++
		return nil
	}
	at, err := l.clock.of(row, m)
	if err != nil {
		return l.blame(info.index, place, err)
	}
	if !known && !m.kindByPreset {
		return l.blame(info.index, place, fmt.Errorf("%w: %s is none of 20, 721, 1155", ErrType, rows.Quote(cell(row, m.kind))))
	}
	r := record{at: at, file: uint16(len(l.files)), line: int32(place.Line)}
	if r.flags, err = removed(row, m); err != nil {
		return &rows.Error{Place: place, Err: err}
	}
	r.from, r.to = l.holders.add(row[m.from]), l.holders.add(row[m.to])
	key, has := l.identify(row, m)
	if r.flags&flagRemoved != 0 && !has {
		return &rows.Error{Place: place, Err: ErrRemoved}
	}
	hash := uint64(0)
	if !has {
		hash = hashRow(l.identifier.a, row)
	}
	return l.eachItem(row, m, info, k, place, func(token, id string, value uint256.Int, more flags, n int) {
		r := r
		r.token = info.index
		if token != "" {
			r.token = l.tokens.add(token)
		}
		r.value = value
		r.flags |= more
		r.row = hash
		if has {
			l.addIdentified(&r, key, id, n)
			return
		}
		l.records = append(l.records, r)
		if l.keys != nil {
			l.keys = append(l.keys, identity{})
		}
	})
}

func (l *Ledger) readStatement(row []string, m *mapping, place rows.Place, more flags) error {
	info, err := l.contracts.ofRow(row, m)
	if err != nil {
		return &rows.Error{Place: place, Err: err}
	}
	r := record{file: uint16(len(l.files)), line: int32(place.Line), flags: flagStatement | more}
	if l.opt.Snapshots && more&flagCheck == 0 {
		r.flags |= flagSnapshot
	}
	if !info.selected {
		l.summary.Unselected++
		if r.flags&flagSnapshot != 0 && m.validFrom < 0 {
			if r.at, err = l.clock.of(row, m); err == nil && r.at != l.marked {
				l.marked = r.at
				l.append(mark(r, info.index))
			}
		}
		return nil
	}
	until := int64(0)
	if m.validFrom >= 0 {
		r.flags |= flagInterval
		if r.at, err = l.opt.parseTime(row[m.validFrom]); err == nil && !l.opt.isForever(row[m.validTo]) {
			until, err = l.opt.parseTime(row[m.validTo])
			if err == nil && until < r.at {
				err = fmt.Errorf("%w: it ends at %s, before it begins", ErrTime, formatTime(until))
			}
		}
	} else {
		r.at, err = l.clock.of(row, m)
	}
	if err != nil {
		return l.blame(info.index, place, err)
	}
	r.to = l.holders.add(row[m.to])
	if r.flags&flagSnapshot != 0 && m.validFrom < 0 && l.opt.SkipBadTokens && r.at != l.marked {
		l.marked = r.at
		l.append(mark(r, info.index)) // the snapshot is one, also if this row is bad
	}
	return l.eachItem(row, m, info, kindUnknown, place, func(token, _ string, value uint256.Int, more flags, _ int) {
		r := r
		r.token = info.index
		if token != "" {
			r.token = l.tokens.add(token)
		}
		r.value = value
		r.flags |= more
		if until == r.at {
			return // it says nothing
		}
		l.append(r)
		if until > 0 {
			r.at, r.value = until, uint256.Int{}
			r.flags = r.flags&^flagInterval | flagUntil
			l.append(r)
		}
	})
}

// mark is a record of the time of a snapshot, without a balance.
func mark(r record, token uint32) record {
	r.token, r.from, r.to, r.row = token, nobody, nobody, 0
	r.flags |= flagMark
	return r
}

func (l *Ledger) append(r record) {
	l.records = append(l.records, r)
	if l.keys != nil {
		l.keys = append(l.keys, identity{})
	}
}

// blame notes what is wrong with a token. It returns an error if that ends the
// reading.
func (l *Ledger) blame(token uint32, place rows.Place, err error) error {
	e := &rows.Error{Place: place, Err: err}
	if !l.opt.SkipBadTokens {
		return e
	}
	l.faults = append(l.faults, fault{token, e})
	return nil
}

// removed reports as a flag whether a row takes its log back.
func removed(row []string, m *mapping) (flags, error) {
	switch s := cell(row, m.removed); strings.ToLower(s) {
	case "", "false", "0", "f", "no":
		return 0, nil
	case "true", "1", "t", "yes":
		return flagRemoved, nil
	default:
		return 0, fmt.Errorf("%w: %s", ErrMark, rows.Quote(s))
	}
}

// hashRow returns a hash of all cells.
func hashRow(seed maphash.Seed, row []string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, c := range row {
		_, _ = h.WriteString(c)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}
