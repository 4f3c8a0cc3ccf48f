package transfers

import (
	"fmt"
	"io"
	"strconv"

	"github.com/holiman/uint256"

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

// openingName stands for the file in errors about opening balances.
const openingName = "opening balances"

// opening is the balance of a pair to start from.
type opening struct {
	token, holder uint32 // as they were written
	units         uint256.Int
	fine          bool
	since         int64
	place         rows.Place
}

// LoadOpening reads the balances to start from, as [Ledger.SaveClosing] wrote
// them. It comes before any row. Only transfers later than its as_of fit.
func (l *Ledger) LoadOpening(name string) error {
	table, err := rows.OpenTable(name, nil)
	if err != nil {
		return err
	}
	defer table.Close()
	var at [balanceWidth]int
	for i, column := range balanceColumns {
		if at[i], err = table.Column(column); err != nil {
			return err
		}
	}
	var latest int64 // since of any balance
	pairs := map[[2]uint32]bool{}
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
		} else if row[colHolder] == "" && row[colBalance] == leftOutText && row[colToken] != "" {
			l.leftOut = append(l.leftOut, l.tokens.add(row[colToken]))
		} else {
			var o opening
			if o, err = l.open(&row); err == nil && pairs[[2]uint32{o.token, o.holder}] {
				err = fmt.Errorf("%w: %s of %s is there twice", ErrOpening, rows.Clip(row[colHolder]), rows.Clip(row[colToken]))
			}
			o.place = place
			pairs[[2]uint32{o.token, o.holder}] = true
			l.opening = append(l.opening, o)
			latest = max(latest, o.since)
		}
		if err != nil {
			return &rows.Error{Place: place, Err: err}
		}
	}
	place := rows.Place{File: table.File()}
	switch {
	case !l.opened:
		return &rows.Error{Place: place, Err: fmt.Errorf("%w: the last row, which has as_of and no holder, is missing; was the file copied whole?", ErrOpening)}
	case latest > l.openedAt:
		return &rows.Error{Place: place, Err: fmt.Errorf("%w: a balance since %s is later than as_of", ErrOpening, l.opt.when(latest))}
	}
	return nil
}

// openAsOf reads the row that describes the file.
func (l *Ledger) openAsOf(row *[balanceWidth]string) error {
	if l.opened {
		return fmt.Errorf("%w: a second row has no token and no holder", ErrOpening)
	}
	l.opened = true
	if text := row[colAsOf]; text != "" { // empty: no transfer was read yet
		ns, err := parseOpeningTime(text)
		if err != nil {
			return fmt.Errorf("%w: as_of %s", err, rows.Quote(text))
		}
		l.openedAt = ns
	}
	if was := row[colNFT]; was != strconv.FormatBool(l.opt.NFT) {
		return fmt.Errorf("%w: they were made with --nft=%s; give it again", ErrOpening, rows.Clip(was))
	}
	return l.manner.open(&l.opt, l.thousands, row[colDecimals])
}

// parseOpeningTime reads a time that SaveClosing wrote.
func parseOpeningTime(s string) (int64, error) { return new(Options).parseTime(s) }

// open reads the balance of a pair.
func (l *Ledger) open(row *[balanceWidth]string) (opening, error) {
	token, holder, balance := row[colToken], row[colHolder], row[colBalance]
	switch {
	case token == "":
		return opening{}, ErrToken
	case isNull(holder):
		return opening{}, ErrHolder
	}
	exact := Options{Round: RoundDown} // which takes what SaveClosing wrote
	units, fine, err := exact.parseValue(balance, 0)
	if err != nil {
		return opening{}, err
	}
	if units.IsZero() || l.opt.NFT && units != *oneUnit {
		return opening{}, fmt.Errorf("%w: a balance of %s", ErrOpening, rows.Clip(balance))
	}
	if err := l.contracts.state(token, row[colDecimals]); err != nil {
		return opening{}, err
	}
	since, err := parseOpeningTime(row[colSince])
	if err != nil {
		return opening{}, fmt.Errorf("%w: %s", err, rows.Quote(row[colSince]))
	}
	return opening{token: l.tokens.add(token), holder: l.holders.add(holder), units: units, fine: fine, since: since}, nil
}

// checkOpening makes sure that no pair, and no owner of an NFT, is there twice, now
// that ids are normalised.
func (l *Ledger) checkOpening() error {
	type pair struct{ token, holder uint32 }
	pairs := make(map[pair]bool, len(l.opening))
	owners := map[uint32]bool{}
	for i := range l.opening {
		o := &l.opening[i]
		p := pair{l.tokens.means[o.token], l.holders.means[o.holder]}
		switch {
		case pairs[p]:
			return &rows.Error{Place: o.place, Err: fmt.Errorf("%w: %s of %s is there twice, in two spellings", ErrOpening, rows.Clip(l.holders.texts[p.holder]), rows.Clip(l.tokens.texts[p.token]))}
		case l.opt.NFT && owners[p.token]:
			return &rows.Error{Place: o.place, Err: fmt.Errorf("%w: %s", ErrTwice, rows.Clip(l.tokens.texts[p.token]))}
		}
		pairs[p], owners[p.token] = true, true
	}
	return nil
}

// seconds is unix seconds of a whole time, else RFC 3339.
func seconds(ns int64) string {
	if ns%1e9 == 0 {
		return fmt.Sprint(ns / 1e9)
	}
	return formatTime(ns)
}
