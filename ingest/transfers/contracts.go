package transfers

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/rows"
)

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

// contracts are the tokens of the files without their ids, while rows are read.
type contracts struct {
	opt   *Options
	names *names // of all tokens
	infos map[string]*tokenInfo
	seen  map[string]*decimalsSeen

	lastBase string // rows of one token stand together
	lastInfo *tokenInfo
}

func newContracts(opt *Options, names *names) *contracts {
	return &contracts{opt: opt, names: names, infos: make(map[string]*tokenInfo), seen: make(map[string]*decimalsSeen)}
}

// of returns what is known of a token without an id.
func (c *contracts) of(base string) *tokenInfo {
	if c.lastInfo != nil && base == c.lastBase {
		return c.lastInfo
	}
	info := c.infos[base]
	if info == nil {
		base = strings.Clone(base)
		info = &tokenInfo{index: c.names.add(base), selected: c.opt.selects(base), override: -1, decimals: decimalsOf(c.seen, base, c.opt.Tokens)}
		for token, n := range c.opt.DecimalsOfToken {
			if c.opt.sameToken(token, base) {
				info.override = n
			}
		}
		c.infos[base] = info
	}
	c.lastBase, c.lastInfo = base, info
	return info
}

// ofRow returns what is known of the token of a row.
func (c *contracts) ofRow(row []string, m *mapping) (*tokenInfo, error) {
	base := c.opt.TokenValue
	if m.token >= 0 {
		base = row[m.token]
	}
	if base == "" {
		return nil, ErrToken
	}
	return c.of(base), nil
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

// state notes the decimals of a token that opening balances state; an empty text states
// none. Later rows without decimals are read by them.
func (c *contracts) state(token, text string) error {
	if text == "" {
		return nil
	}
	n, err := blockNumber(text)
	if err != nil || n > MaxDecimals {
		return fmt.Errorf("%w: decimals %s", ErrOpening, rows.Quote(text))
	}
	decimalsOf(c.seen, contractOf(token), c.opt.Tokens).stated = int(n)
	return nil
}

// stated returns the decimals that the rows of a token stated, or "" if none did.
func (c *contracts) stated(token string) string {
	if seen := decimalsOf(c.seen, contractOf(token), c.opt.Tokens); seen.stated >= 0 {
		return strconv.Itoa(seen.stated)
	}
	return ""
}

// contractOf is a token without its id.
func contractOf(token string) string {
	if i := strings.LastIndexByte(token, '/'); i >= 0 {
		return token[:i]
	}
	return token
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

// amount reads a value by the decimals of its row.
func (o *Options) amount(value string, row []string, m *mapping, info *tokenInfo, ofID bool) (uint256.Int, flags, error) {
	decimals, err := o.decimals(row, m, info, ofID)
	if err != nil {
		return uint256.Int{}, 0, err
	}
	units, fine, err := o.parseValue(value, decimals)
	if fine {
		return units, flagFine, err
	}
	return units, 0, err
}

// decimals are those of a row: of the options for its token, of its column, or of
// the options for all.
func (o *Options) decimals(row []string, m *mapping, info *tokenInfo, ofID bool) (int, error) {
	if info.override >= 0 {
		return info.override, nil
	}
	seen := info.decimals
	switch {
	case m.decimals >= 0:
	case ofID || o.DecimalsGiven:
		return o.Decimals, nil
	case seen.stated >= 0:
		return seen.stated, nil // as another file said, such as that of a checkpoint's transfers
	default:
		seen.silent = true
		return o.Decimals, nil
	}
	text := row[m.decimals]
	switch {
	case ofID && (m.decimalsByPreset || text == ""):
		return 0, nil
	case text == "" && (m.decimalsByPreset || o.DecimalsGiven):
		return o.Decimals, nil
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
	case seen.silent && o.Decimals != int(n):
		return 0, fmt.Errorf("%w: %d here, and an earlier file has no column of them: give those of the token (--decimals TOKEN=%d)", ErrDecimals, n, n)
	}
	seen.stated = int(n)
	return int(n), nil
}
