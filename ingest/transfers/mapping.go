package transfers

import (
	"fmt"
	"slices"
	"strings"

	"holdmetrics/ingest/rows"
)

// mapping is where the columns of a file stand; -1: the file has none.
type mapping struct {
	preset *preset
	width  int // of the header that it was made of

	token, from, to     int
	values, ids         []int // the first that a row has counts
	time, block         int
	tx, logIndex, batch int
	removed             int
	kind, decimals      int
	validFrom, validTo  int

	decimalsByPreset bool // and not by an option
	kindByPreset     bool
}

// finder resolves the columns of one header.
type finder struct {
	header []string
	names  *Columns
	err    error
}

// find returns the index of a column: the one that was named, which has to be
// there, or the first candidate that is.
func (f *finder) find(named string, candidates []string) int {
	if named != "" {
		i := slices.Index(f.header, named)
		if i < 0 && f.err == nil {
			f.err = fmt.Errorf("%w: no column %s among %s", rows.ErrHeader, rows.Quote(named), rows.List(f.header))
		}
		return i
	}
	for _, name := range candidates {
		if i := slices.Index(f.header, name); i >= 0 {
			return i
		}
	}
	return -1
}

// all returns the indexes of the column that was named, or of all candidates.
func (f *finder) all(named string, candidates []string) (all []int) {
	if named != "" {
		candidates = []string{named}
	}
	for _, name := range candidates {
		if i := f.find(named, []string{name}); i >= 0 {
			all = append(all, i)
		}
	}
	return all
}

// need is find of a column without which nothing can be read.
func (f *finder) need(named string, candidates []string, option string) int {
	i := f.find(named, candidates)
	if i < 0 && f.err == nil {
		f.err = fmt.Errorf("%w: no column %s among %s: name the column (--%s)", rows.ErrHeader, rows.Quote(candidates[0]), rows.List(f.header), option)
	}
	return i
}

// mapTransfers finds the columns of a file of transfers.
func (o *Options) mapTransfers(header []string) (*mapping, error) {
	f := finder{header: header, names: &o.Columns}
	p := choose(o.Preset, header)
	c := &o.Columns
	m := &mapping{preset: p, width: len(header), token: -1}
	if o.TokenValue == "" {
		m.token = f.need(c.Token, p.token, "token-column, or --token-value NAME if the file is of one token")
	}
	m.from = f.need(c.From, p.from, "from-column")
	m.to = f.need(c.To, p.to, "to-column")
	if !o.NFT {
		m.ids = f.all(c.ID, p.id)
	}
	m.kind = f.find(c.Type, p.kind)
	m.kindByPreset = c.Type == ""
	if m.values = f.all(c.Value, p.value); len(m.values) == 0 && len(m.ids) == 0 {
		f.need(c.Value, p.value, "value-column")
	}
	o.findTime(&f, m, p)
	m.tx, m.logIndex, m.batch, m.removed = f.find(c.Tx, p.tx), f.find(c.LogIndex, p.logIndex), f.find(c.Batch, p.batch), f.find(c.Removed, p.removed)
	if f.err == nil {
		f.err = halfIdentity(c, m)
	}
	m.decimals = f.find(c.Decimals, nil)
	if c.Decimals == "" && !o.DecimalsGiven && !o.NFT {
		m.decimals = f.find("", p.decimals)
		m.decimalsByPreset = m.decimals >= 0
	}
	m.validFrom, m.validTo = -1, -1
	if f.err != nil {
		return nil, f.err
	}
	return m, o.checkIDs(header, m)
}

// halfIdentity returns an error if an option names a part of what identifies a log, and
// the file does not have the rest: the option would have no effect.
func halfIdentity(c *Columns, m *mapping) error {
	switch {
	case c.Tx != "" && m.logIndex < 0 && !m.preset.unique:
		return fmt.Errorf("%w: the transaction alone does not identify a log: name the column of the log index too (--log-index)", ErrColumns)
	case c.LogIndex != "" && m.tx < 0:
		return fmt.Errorf("%w: the log index alone does not identify a log: name the column of the transaction too (--tx)", ErrColumns)
	case c.Batch != "" && m.tx < 0:
		return fmt.Errorf("%w: the place in a batch alone does not identify a log: name the columns of the transaction and the log index too (--tx, --log-index)", ErrColumns)
	}
	return nil
}

// findTime finds the column of the time or, by block, of its number.
func (o *Options) findTime(f *finder, m *mapping, p *preset) {
	c := &o.Columns
	if f.names != nil {
		c = f.names
	}
	m.time, m.block = -1, -1
	if o.ByBlock {
		if c.Time != "" && c.Block == "" {
			m.block = f.find(c.Time, nil)
			if m.block >= 0 && !slices.Contains(p.time, c.Time) {
				return
			}
		}
		m.block = f.need(c.Block, p.block, "block-column")
		return
	}
	if len(o.Blocks) > 0 {
		m.block = f.need(c.Block, p.block, "block-column")
		return
	}
	if m.time = f.find(c.Time, p.time); m.time >= 0 || f.err != nil {
		return
	}
	if f.find("", p.block) >= 0 {
		f.err = fmt.Errorf("%w: the rows have block numbers and no times: give the times of the blocks (--blocks FILE with number and timestamp), name the column of the time (--time-column), or count in blocks (--by block)", rows.ErrHeader)
		return
	}
	m.time = f.need(c.Time, p.time, "time-column")
}

// mapStatements finds the columns of a file of balances.
func (o *Options) mapStatements(header []string, c *Columns) (*mapping, error) {
	f := finder{header: header, names: c}
	p := &statementPreset
	m := &mapping{preset: p, width: len(header), token: -1, from: -1, tx: -1, logIndex: -1, batch: -1, removed: -1, kind: -1, decimals: -1}
	if o.TokenValue == "" {
		m.token = f.need(c.Token, p.token, "token-column, or --token-value NAME if the file is of one token")
	}
	m.to = f.need(c.Holder, p.to, "holder-column")
	if m.values = f.all(c.Value, p.value); len(m.values) > 1 {
		m.values = m.values[:1]
	} else if len(m.values) == 0 {
		f.need(c.Value, p.value, "balance-column")
	}
	m.ids = f.all(c.ID, p.id)
	m.decimals = f.find(c.Decimals, nil)
	m.validTo, m.validFrom = -1, -1
	if !o.ByBlock && len(o.Blocks) == 0 && c.Time == "" {
		if m.validTo = f.find(c.ValidTo, validTo); m.validTo >= 0 {
			m.validFrom = f.need(c.ValidFrom, validFrom, "valid-from-column")
		} else if c.ValidFrom != "" {
			m.validFrom = f.find(c.ValidFrom, nil)
			m.time, m.validFrom = m.validFrom, -1
			return m, f.err
		}
	}
	m.time, m.block = -1, -1
	if m.validFrom < 0 {
		o.findTime(&f, m, p)
	}
	return m, f.err
}

// bareName returns a name in lower case, with ASCII letters and digits only, so that Token ID, tokenID
// and token_id are one.
func bareName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
}

var (
	amountNames = []string{"value", "values", "amount", "amounts", "quantity", "amountraw", "tokenvalue", "valuestring", "valuebinary"}
	idNames     = []string{"tokenid", "tokenids", "id", "ids", "erc721tokenid", "tokenidstring", "nftid"}
)

// checkIDs refuses ids as amounts and amounts as ids.
func (o *Options) checkIDs(header []string, m *mapping) error {
	other := func(names []string, but int) string {
		for i, name := range header {
			if i != but && slices.Contains(names, bareName(name)) {
				return name
			}
		}
		return ""
	}
	if len(m.values) == 0 {
		return nil
	}
	column := m.values[0]
	value := header[column]
	isID := slices.Contains(idNames, bareName(value))
	switch {
	case o.NFT && isID:
		if amount := other(amountNames, column); amount != "" {
			return fmt.Errorf("%w: --nft counts each id once, and column %s has amounts: give --id %s --value %s instead of --nft",
				ErrColumns, rows.Quote(amount), value, amount)
		}
	case o.NFT:
		if id := other(idNames, column); id != "" {
			return fmt.Errorf("%w: --nft takes column %s as token ids, and column %s has the ids: give --id %s --value %s instead of --nft",
				ErrColumns, rows.Quote(value), rows.Quote(id), id, value)
		}
	case isID && len(m.ids) == 0:
		return fmt.Errorf("%w: column %s has ids and not amounts: give --nft --value %s if each id has one owner, or --id %s --value COLUMN beside a column of amounts",
			ErrColumns, rows.Quote(value), value, value)
	case isID && slices.Contains(m.ids, column):
		return fmt.Errorf("%w: column %s cannot be id and amount at once", ErrColumns, rows.Quote(value))
	}
	return nil
}
