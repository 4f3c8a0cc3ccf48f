package transfers

import (
	"maps"
	"slices"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

// Summary is what is worth knowing about the files of a ledger, after Events.
type Summary struct {
	Sources         []Source      // how the columns of the files were found
	AutoIDs         bool          // IDsAuto normalised ids
	Duplicates      int64         // rows of a log that was there already
	TakenBack       int64         // logs that a later row removed
	RemovedUnseen   int64         // rows that remove a log that was not there
	Equal           int64         // rows that are equal within one time, without an identity
	FirstEqual      rows.Place    // the first of them
	EqualStatements int64         // statements that were there already
	Headers         int64         // header lines within files
	Unselected      int64         // rows of tokens that were not asked for
	Coins           int64         // rows of the coin of the chain
	OfNobody        int64         // statements of the balance of nobody
	Rounded         int64         // weights that lost digits
	Sorted          bool          // the rows did not stand in the order of their times
	Corrections     []*Correction // by checkpoints, by token
	Bad             []BadToken    // tokens that were left out, by token
	DividedIDs      int64         // amounts of ids of type 1155 that Options.Decimals divided, as it did all
	Absent          []string      // tokens that options name and no row has
	Holders, Tokens []Lookalike   // ids that differ in case or invisible characters alone
	Last            int64         // ns, of the last row; 0: there was none
}

// Source is how the columns of files were found.
type Source struct {
	File     string // the first file of these columns
	Preset   string
	Decimals string   // the column of the decimals that a preset named; may be empty
	ID       string   // the column of ids that a preset found; may be empty
	Unused   []string // columns that say nothing here

	UnusedDecimals string // the column among them that seems to have decimals; may be empty
}

// BadToken is a token that was left out.
type BadToken struct {
	Token string
	Err   *rows.Error // its first bad row
}

// Correction is what checkpoints changed of one token.
type Correction struct {
	Token  string
	Count  int64
	Amount string // exact: the sum of what was added and taken away

	token uint32
	units uint256.Int
}

// decimalsNames are names of columns that have the decimals of the row's token.
var decimalsNames = []string{"decimals", "tokendecimals", "tokendecimal", "contractdecimals", "rawcontractdecimal"}

// noteColumns notes how the columns of a file were found.
func (l *Ledger) noteColumns(file string, header []string, m *mapping) {
	l.opt.Numbers.Thousands = l.thousands
	if l.thousands == "" {
		l.opt.Numbers.Thousands = m.preset.thousands
	}
	s := Source{File: file, Preset: m.preset.name}
	used := slices.Concat(m.values, m.ids, []int{m.token, m.from, m.to, m.time, m.block, m.tx, m.logIndex, m.batch, m.removed, m.kind, m.decimals, m.validFrom, m.validTo})
	if m.decimalsByPreset {
		s.Decimals = header[m.decimals]
	}
	if len(m.ids) > 0 && l.opt.Columns.ID == "" {
		s.ID = header[m.ids[0]]
	}
	for i, name := range header {
		if !slices.Contains(used, i) && name != "" {
			s.Unused = append(s.Unused, name)
			if m.decimals < 0 && len(m.values) > 0 && !l.opt.NFT && len(l.opt.DecimalsOfToken) == 0 && slices.Contains(decimalsNames, bareName(name)) {
				s.UnusedDecimals = name
			}
		}
	}
	if !slices.ContainsFunc(l.summary.Sources, func(t Source) bool {
		return t.Preset == s.Preset && t.Decimals == s.Decimals && t.ID == s.ID && slices.Equal(t.Unused, s.Unused)
	}) {
		l.summary.Sources = append(l.summary.Sources, s)
	}
}

func (l *Ledger) noteEqual(r *record) {
	if l.summary.Equal++; l.summary.Equal == 1 {
		l.summary.FirstEqual = l.place(r)
	}
}

// correct notes what a checkpoint changes of an account.
func (l *Ledger) correct(b *book, a *account, stated *uint256.Int, count bool) {
	if !count {
		return
	}
	var sum, computed, diff uint256.Int
	sum.Add(&a.balance, &a.in)
	under := false
	if _, under = computed.SubOverflow(&sum, &a.out); under {
		computed = uint256.Int{}
		diff.Sub(&a.out, &sum)
		diff.Add(&diff, stated)
	} else if stated.Gt(&computed) {
		diff.Sub(stated, &computed)
	} else {
		diff.Sub(&computed, stated)
	}
	if diff.IsZero() {
		return
	}
	i := slices.IndexFunc(l.summary.Corrections, func(c *Correction) bool { return c.token == a.token })
	if i < 0 {
		i = len(l.summary.Corrections)
		l.summary.Corrections = append(l.summary.Corrections, &Correction{Token: l.tokens.texts[a.token], token: a.token})
	}
	c := l.summary.Corrections[i]
	c.Count++
	c.units.Add(&c.units, &diff)
	c.Amount = b.text(a.token, &c.units)
}

// Summary returns what is worth knowing, after Events.
func (l *Ledger) Summary() *Summary {
	s := l.summary
	s.Last = l.at
	for token, err := range l.bad {
		s.Bad = append(s.Bad, BadToken{l.tokens.texts[token], err})
	}
	slices.SortFunc(s.Bad, func(a, b BadToken) int {
		switch {
		case a.Token < b.Token:
			return -1
		case a.Token > b.Token:
			return 1
		}
		return 0
	})
	s.Absent = l.opt.absentTokens(l.contracts.infos)
	s.Holders, s.Tokens = Lookalikes(l.holders.meant()), Lookalikes(l.tokens.meant())
	return &s
}

// absentTokens are the tokens that options name and no row has, which may be typing
// errors.
func (o *Options) absentTokens(infos map[string]*tokenInfo) (absent []string) {
	look := func(name, contract string) {
		for base := range infos {
			if o.sameToken(name, base) || o.sameToken(contract, base) {
				return
			}
		}
		if !slices.Contains(absent, name) {
			absent = append(absent, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.DecimalsOfToken)) {
		look(name, name)
	}
	for _, name := range slices.Concat(o.TokenIs, o.TokenIsNot) {
		contract, _, _ := strings.Cut(name, "/") // an id of it
		look(name, contract)
	}
	return absent
}

// meant are the ids that texts mean, each once.
func (n *names) meant() (ids []string) {
	for i, m := range n.means {
		if uint32(i) == m && i != nobody {
			ids = append(ids, n.texts[i])
		}
	}
	return ids
}
