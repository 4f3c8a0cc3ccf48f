package transfers

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/hold"
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

// tokenInfo is what is known of a token's contract while its rows are read.
type tokenInfo struct {
	index    uint32 // of the token without an id
	selected bool
	override int // decimals of the options, or -1
	decimals *decimalsSeen
}

// decimalsSeen is what the rows of a token said of its decimals, in all spellings of
// the token's address.
type decimalsSeen struct {
	stated int  // of a column, or -1
	silent bool // rows without the column were read by Options.Decimals
}

// infoOf returns what is known of a token without an id.
func (l *Ledger) infoOf(base string) *tokenInfo {
	if l.lastInfo != nil && base == l.lastBase {
		return l.lastInfo
	}
	info := l.infos[base]
	if info == nil {
		base = strings.Clone(base)
		info = &tokenInfo{index: l.tokens.add(base), selected: l.opt.selects(base), override: -1, decimals: decimalsOf(l.seen, base, l.opt.Tokens)}
		for token, n := range l.opt.DecimalsOfToken {
			if l.opt.sameToken(token, base) {
				info.override = n
			}
		}
		l.infos[base] = info
	}
	l.lastBase, l.lastInfo = base, info
	return info
}

// decimalsOf returns what the rows of a token say of its decimals, of those of all.
func decimalsOf(all map[string]*decimalsSeen, base string, way IDs) *decimalsSeen {
	if way != IDsNone {
		base, _ = address(base)
	}
	seen := all[base]
	if seen == nil {
		seen = &decimalsSeen{stated: -1}
		all[base] = seen
	}
	return seen
}

// sameToken reports whether an option names a token.
func (o *Options) sameToken(named, base string) bool {
	if named == base {
		return true
	}
	if o.Tokens == IDsNone {
		return false
	}
	a, isA := address(named)
	b, isB := address(base)
	return isA && isB && a == b
}

func (o *Options) selects(base string) bool {
	is := func(named string) bool {
		before, _, _ := strings.Cut(named, "/")
		return o.sameToken(named, base) || o.sameToken(before, base)
	}
	selected := len(o.TokenIs) == 0
	for _, named := range o.TokenIs {
		selected = selected || is(named)
	}
	for _, named := range o.TokenIsNot {
		// A name with an id leaves out that id alone, which is done later.
		if o.sameToken(named, base) {
			return false
		}
	}
	return selected
}

// readFile reads a file of transfers, or of statements by the columns of c.
func (l *Ledger) readFile(ctx context.Context, name string, statements bool, c *Columns, more flags, read func(int)) error {
	f, err := rows.Open(name, read)
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := rows.NewTable(f)
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
		return &rows.Error{Place: rows.Place{File: f.Name(), Line: 1}, Err: err}
	}
	if len(l.files) > 1<<16-2 {
		return errors.New("too many files in one call")
	}
	l.files = append(l.files, f.Name())
	l.noteColumns(f.Name(), table.Header(), m)
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

func cell(row []string, i int) string {
	if i < 0 {
		return ""
	}
	return row[i]
}

// first is the first cell of some that is not empty.
func first(row []string, columns []int) string {
	for _, i := range columns {
		if row[i] != "" {
			return row[i]
		}
	}
	return ""
}

// base is the token of a row, without an id.
func (l *Ledger) base(row []string, m *mapping) (*tokenInfo, error) {
	base := l.opt.TokenValue
	if m.token >= 0 {
		base = row[m.token]
	}
	if base == "" {
		return nil, ErrToken
	}
	return l.infoOf(base), nil
}

func (l *Ledger) readTransfer(row []string, m *mapping, place rows.Place) error {
	k, known := parseKind(cell(row, m.kind))
	if k == kindNone {
		l.summary.Coins++
		return nil
	}
	info, err := l.base(row, m)
	if err != nil {
		return &rows.Error{Place: place, Err: err}
	}
	if !info.selected {
		l.summary.Unselected++
		return nil
	}
	at, err := l.rowTime(row, m)
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

// eachItem calls add with what a row moves: one value, or each of a batch. token is
// the token with its id, or empty if it has none.
func (l *Ledger) eachItem(row []string, m *mapping, info *tokenInfo, k kind, place rows.Place, add func(token, id string, value uint256.Int, more flags, n int)) error {
	base := l.tokens.texts[info.index]
	value := first(row, m.values)
	if l.opt.NFT {
		id, err := tokenID(value)
		if err != nil {
			return l.blame(info.index, place, err)
		}
		add(base+"/"+id, id, *oneUnit, flagNFT, 0)
		return nil
	}
	idText := first(row, m.ids)
	if k == kindOne && idText == "" {
		idText, value = value, "" // as ethereum-etl writes ERC-721
	}
	if k == kindAmount {
		idText = ""
	}
	if idText == "" {
		if k == kindMany {
			return l.blame(info.index, place, fmt.Errorf("%w: a token of type 1155 has no id (--id)", ErrValue))
		}
		units, more, err := l.amount(value, row, m, info, false)
		if err != nil {
			return l.blame(info.index, place, err)
		}
		add("", "", units, more, 0)
		return nil
	}
	ids, batch := splitList(idText)
	values, listed := splitList(value)
	if !batch {
		ids = []string{idText}
	}
	if !listed {
		values = nil
		for range ids {
			values = append(values, value)
		}
	}
	if len(ids) != len(values) || batch && !listed && len(ids) > 1 && value != "" {
		return l.blame(info.index, place, fmt.Errorf("%w: the batch has %d ids and other values, %s", ErrValue, len(ids), rows.Quote(value)))
	}
	type item struct {
		token, id string
		units     uint256.Int
		more      flags
	}
	items := make([]item, 0, 1)
	for i := range ids {
		id, err := tokenID(ids[i])
		if err != nil {
			return l.blame(info.index, place, err)
		}
		it := item{token: base + "/" + id, id: id, units: *oneUnit}
		if k == kindMany && l.opt.Decimals > 0 && info.override < 0 && m.decimals < 0 {
			l.summary.DividedIDs++
		}
		if k == kindOne || len(m.values) == 0 && k != kindMany {
			it.more = flagNFT
		} else if it.units, it.more, err = l.amount(values[i], row, m, info, true); err != nil {
			return l.blame(l.tokens.add(it.token), place, err)
		}
		items = append(items, it)
	}
	for i := range items {
		add(items[i].token, items[i].id, items[i].units, items[i].more, i)
	}
	return nil
}

// amount reads a value by the decimals of its row.
func (l *Ledger) amount(value string, row []string, m *mapping, info *tokenInfo, ofID bool) (uint256.Int, flags, error) {
	decimals, err := l.decimals(row, m, info, ofID)
	if err != nil {
		return uint256.Int{}, 0, err
	}
	units, fine, err := l.opt.parseValue(value, decimals)
	if fine {
		return units, flagFine, err
	}
	return units, 0, err
}

// decimals are those of a row: of the options for its token, of its column, or of
// the options for all.
func (l *Ledger) decimals(row []string, m *mapping, info *tokenInfo, ofID bool) (int, error) {
	if info.override >= 0 {
		return info.override, nil
	}
	seen := info.decimals
	switch {
	case m.decimals >= 0:
	case ofID || l.opt.DecimalsGiven:
		return l.opt.Decimals, nil
	case seen.stated >= 0:
		return seen.stated, nil // as another file said, such as that of a checkpoint's transfers
	default:
		seen.silent = true
		return l.opt.Decimals, nil
	}
	text := row[m.decimals]
	switch {
	case ofID && (m.decimalsByPreset || text == ""):
		return 0, nil
	case text == "" && (m.decimalsByPreset || l.opt.DecimalsGiven):
		return l.opt.Decimals, nil
	case text == "":
		return 0, fmt.Errorf("%w: the row has none: give those of tokens without (--decimals N)", ErrDecimals)
	}
	n, err := blockNumber(text)
	if err != nil || n > MaxDecimals {
		return 0, fmt.Errorf("%w: %s is not a number from 0 to %d", ErrDecimals, rows.Quote(text), MaxDecimals)
	}
	switch {
	case seen.stated >= 0 && seen.stated != int(n):
		return 0, fmt.Errorf("%w: %d here, and %d in an earlier row of the token", ErrDecimals, n, seen.stated)
	case seen.silent && l.opt.Decimals != int(n):
		return 0, fmt.Errorf("%w: %d here, and an earlier file has no column of them: give those of the token (--decimals TOKEN=%d)", ErrDecimals, n, n)
	}
	seen.stated = int(n)
	return int(n), nil
}

func (l *Ledger) readStatement(row []string, m *mapping, place rows.Place, more flags) error {
	info, err := l.base(row, m)
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
			if r.at, err = l.rowTime(row, m); err == nil && r.at != l.marked {
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
		r.at, err = l.rowTime(row, m)
	}
	if err != nil {
		return l.blame(info.index, place, err)
	}
	r.to = l.holders.add(row[m.to])
	r.row = hashRow(l.identifier.a, row)
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
		return 0, fmt.Errorf("%w: removed is true or false, not %s", ErrValue, rows.Quote(s))
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

// checkID returns what keeps a text from being an id. The empty text is nobody.
func checkID(s string) error {
	if s == "" {
		return nil
	}
	err := hold.CheckID("", s)
	if err == nil {
		err = (&hold.Draft{Token: s}).CheckStrict()
	}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		return field.Err
	}
	return err
}
