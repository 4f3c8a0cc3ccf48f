package transfers

import (
	"fmt"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

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
		units, more, err := l.opt.amount(value, row, m, info, false)
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
		return l.blame(info.index, place, fmt.Errorf("%w: there are %d ids, and the values are %s", ErrBatch, len(ids), rows.Quote(value)))
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
		} else if it.units, it.more, err = l.opt.amount(values[i], row, m, info, true); err != nil {
			return l.blame(l.tokens.add(it.token), place, err)
		}
		items = append(items, it)
	}
	for i := range items {
		add(items[i].token, items[i].id, items[i].units, items[i].more, i)
	}
	return nil
}
