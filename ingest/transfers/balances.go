package transfers

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"holdmetrics/ingest/rows"
)

// A file of balances has a row for each pair: what it has, and the start of its
// open hold. One more row, the last, has neither token nor holder and says what
// the file is: as_of is the time of the last row of transfers that is in it,
// decimals and nft are how values were read. So no day is counted twice, also
// where nobody has anything left, units are never mixed, and a file that was cut
// is noticed.
const (
	colToken = iota
	colHolder
	colBalance
	colSince
	colAsOf
	colDecimals
	colNFT
	balanceWidth
)

var balanceColumns = [balanceWidth]string{"token_id", "holder_id", "balance", "since", "as_of", "decimals", "nft"}

// LoadOpening reads the balances to start from, as [Ledger.SaveClosing] wrote
// them. It comes before any row. Only transfers later than its as_of fit.
func (l *Ledger) LoadOpening(name string) error {
	f, err := rows.Open(name, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := rows.NewTable(f)
	if err != nil {
		return err
	}
	var at [balanceWidth]int
	for i, column := range balanceColumns {
		if at[i], err = table.Column(column); err != nil {
			return err
		}
	}
	var latest int64 // since of any balance
	for {
		fields, place, err := table.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var row [balanceWidth]string
		for i := range row {
			row[i] = fields[at[i]]
		}
		if row[colToken] == "" && row[colHolder] == "" {
			err = l.openAsOf(&row)
		} else {
			var since int64
			since, err = l.open(&row)
			latest = max(latest, since)
		}
		if err != nil {
			return &rows.Error{Place: place, Err: err}
		}
	}
	place := rows.Place{File: f.Name()}
	switch {
	case !l.opened:
		return &rows.Error{Place: place, Err: fmt.Errorf("%w: the last row, which has as_of and no holder, is missing; was the file copied whole?", ErrOpening)}
	case latest > l.openedAt:
		return &rows.Error{Place: place, Err: fmt.Errorf("%w: a balance since %s is later than as_of", ErrOpening, formatTime(latest))}
	}
	return nil
}

// openAsOf reads the row that says what the file is.
func (l *Ledger) openAsOf(row *[balanceWidth]string) error {
	if l.opened {
		return fmt.Errorf("%w: a second row has no token and no holder", ErrOpening)
	}
	l.opened = true
	if text := row[colAsOf]; text != "" { // empty: no transfer was read yet
		ns, err := parseTime(text)
		if err != nil {
			return fmt.Errorf("%w: as_of %s", err, rows.Quote(text))
		}
		l.openedAt = ns
	}
	if was := row[colNFT]; was != strconv.FormatBool(l.opt.NFT) {
		return fmt.Errorf("%w: they were made with --nft=%s; give it again", ErrOpening, rows.Clip(was))
	}
	if was := row[colDecimals]; was != strconv.Itoa(l.opt.Decimals) {
		return fmt.Errorf("%w: they were made with --decimals %s, and this is --decimals %d; units do not mix", ErrOpening, rows.Clip(was), l.opt.Decimals)
	}
	return nil
}

// open reads the balance of a pair and says since when it stands.
func (l *Ledger) open(row *[balanceWidth]string) (int64, error) {
	token, holder, balance := row[colToken], row[colHolder], row[colBalance]
	if token == "" || holder == "" || isZeroAddress(holder) {
		return 0, ErrAddress
	}
	units, err := parseValue(balance, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, rows.Quote(balance))
	}
	if units.IsZero() || l.opt.NFT && units != *oneUnit {
		return 0, fmt.Errorf("%w: a balance of %s", ErrOpening, rows.Clip(balance))
	}
	since, err := parseTime(row[colSince])
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, rows.Quote(row[colSince]))
	}
	key := pair{l.name(token), l.name(holder)}
	if _, there := l.accounts[key]; there {
		return 0, fmt.Errorf("%w: %s of %s is there twice", ErrOpening, rows.Clip(holder), rows.Clip(token))
	}
	if l.opt.NFT {
		if l.supply[key.token]++; l.supply[key.token] > 1 {
			return 0, fmt.Errorf("%w: %s", ErrTwice, rows.Clip(token))
		}
	}
	l.accounts[key] = account{balance: units, since: since}
	return since, nil
}

// emitOpening gives the open holds of the opening balances. Where an earlier
// import gave them already, they are the same facts and change nothing.
func (l *Ledger) emitOpening(emit func(rows.Event) bool) bool {
	for _, key := range l.sorted() {
		if !emit(l.event(key, l.accounts[key], rows.Place{File: "opening balances"})) {
			return false
		}
	}
	return true
}

func (l *Ledger) sorted() []pair {
	keys := make([]pair, 0, len(l.accounts))
	for key := range l.accounts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, comparePairs)
	return keys
}

// seconds is unix seconds where the time is whole, else RFC 3339.
func seconds(ns int64) string {
	if ns%1e9 == 0 {
		return fmt.Sprint(ns / 1e9)
	}
	return formatTime(ns)
}
