package transfers

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdmetrics/ingest/rows"
)

// A file of balances says how the files before it were read: its units, and every other
// option that changes figures. The same rows read otherwise would not continue these
// balances.

// units names the units of the values.
func (o *Options) units() string {
	text := strconv.Itoa(o.Decimals)
	for _, token := range slices.Sorted(maps.Keys(o.DecimalsOfToken)) {
		text += fmt.Sprintf(" %s=%d", token, o.DecimalsOfToken[token])
	}
	if o.Columns.Decimals != "" {
		text += " by " + o.Columns.Decimals
	}
	return text
}

// Names of the options in a file of balances, which are those of the flags.
const (
	mannerIDs   = "ids"
	mannerIs    = "token-is"
	mannerIsNot = "token-is-not"
)

// manner returns the other options that change figures and are not the default, but ids.
func (o *Options) manner(thousands string) url.Values {
	m := url.Values{}
	set := func(name string, values ...string) {
		values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
		slices.Sort(values)
		if values = slices.Compact(values); len(values) > 0 {
			m[name] = values
		}
	}
	set("round", map[Round]string{RoundDown: "down", RoundHalfEven: "half-even"}[o.Round])
	if o.ByBlock {
		set("by", "block")
	}
	if o.Times.Unit != 0 {
		set("time-unit", o.Times.Unit.String())
	}
	set("thousands", thousands)
	set("null", o.Null...)
	set("id", o.Columns.ID)
	set(mannerIs, o.TokenIs...)
	set(mannerIsNot, o.TokenIsNot...)
	return m
}

// idsText names how ids are normalised.
func idsText(holders, tokens bool) string {
	switch {
	case holders && tokens:
		return "evm"
	case holders:
		return "holders"
	case tokens:
		return "tokens"
	}
	return ""
}

const mannerMark = " with "

// manner is how a ledger normalises ids, and how its opening balances did.
type manner struct {
	opened                bool   // there are opening balances
	openedIDs             string // how their ids were normalised, as idsText has it
	evmHolders, evmTokens bool   // ids are normalised as addresses
}

// text is the units and the other options in the last row of a file of balances.
func (w *manner) text(opt *Options, thousands string) string {
	m := opt.manner(thousands)
	if ids := idsText(w.evmHolders, w.evmTokens); ids != "" {
		m.Set(mannerIDs, ids)
	}
	text := opt.units()
	if len(m) > 0 {
		text += mannerMark + m.Encode()
	}
	return text
}

// open compares how a file of balances was made with the options. How its ids
// were normalised is kept, until those of the files are known.
func (w *manner) open(opt *Options, thousands, text string) error {
	units, was := text, url.Values{}
	if i := strings.LastIndex(text, mannerMark); i >= 0 {
		var err error
		if was, err = url.ParseQuery(text[i+len(mannerMark):]); err != nil {
			return fmt.Errorf("%w: decimals %s", ErrOpening, rows.Quote(text))
		}
		units = text[:i]
	}
	if units != opt.units() {
		return fmt.Errorf("%w: they were made with --decimals %s, and this is --decimals %s; units do not mix", ErrOpening, rows.Clip(units), opt.units())
	}
	w.opened, w.openedIDs = true, was.Get(mannerIDs)
	was.Del(mannerIDs)
	is := opt.manner(thousands)
	for _, name := range slices.Sorted(maps.Keys(joined(was, is))) {
		fits := slices.Equal(was[name], is[name])
		switch name {
		case mannerIs: // fewer tokens than before may go on
			fits = len(was[name]) == 0 || len(is[name]) > 0 && opt.allNamed(is[name], was[name])
		case mannerIsNot:
			fits = opt.allNamed(was[name], is[name])
		}
		if !fits {
			return fmt.Errorf("%w: they were made %s, and this is %s; options that change figures stay the same", ErrOpening, flagText(name, was[name]), flagText(name, is[name]))
		}
	}
	return nil
}

func joined(a, b url.Values) url.Values {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// allNamed reports whether each of some tokens is among others.
func (o *Options) allNamed(tokens, among []string) bool {
	for _, token := range tokens {
		if !slices.ContainsFunc(among, func(other string) bool { return o.sameToken(other, token) }) {
			return false
		}
	}
	return true
}

func flagText(name string, values []string) string {
	if len(values) == 0 {
		return "without --" + name
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = rows.Quote(v)
	}
	return "with --" + name + " " + strings.Join(quoted, " --"+name+" ")
}

// continueIDs normalises ids as those of the opening balances were, if the options leave
// that open, and else makes sure that the options say the same.
func (w *manner) continueIDs(opt *Options) error {
	if !w.opened {
		return nil
	}
	for _, way := range []struct {
		of    *IDs
		which string
	}{{&opt.Holders, "holders"}, {&opt.Tokens, "tokens"}} {
		was := IDsNone
		if w.openedIDs == "evm" || w.openedIDs == way.which {
			was = IDsEVM
		}
		switch {
		case *way.of == IDsAuto && was == IDsEVM:
			*way.of = IDsEVM
		case *way.of != IDsAuto && *way.of != was:
			return &rows.Error{Place: rows.Place{File: openingName}, Err: fmt.Errorf("%w: their %s were made with --ids %s, and this is --ids %s", ErrOpening, way.which, idsName(was), idsName(*way.of))}
		}
	}
	return nil
}

// checkAuto refuses to normalise ids by themselves if the opening balances were made
// without that, and it would make a difference.
func (w *manner) checkAuto(holders, tokens *names) error {
	if !w.opened {
		return nil
	}
	for _, way := range []struct {
		evm   bool
		names *names
		which string
	}{{w.evmHolders, holders, "holders"}, {w.evmTokens, tokens, "tokens"}} {
		if !way.evm || w.openedIDs == "evm" || w.openedIDs == way.which {
			continue
		}
		for i, m := range way.names.means {
			if uint32(i) != m && m != nobody {
				return &rows.Error{Place: rows.Place{File: openingName}, Err: fmt.Errorf("%w: their %s were made with --ids none, and here every id is a 0x address, such as %s: give --ids none",
					ErrOpening, way.which, rows.Clip(way.names.texts[i]))}
			}
		}
	}
	return nil
}

func idsName(way IDs) string {
	if way == IDsEVM {
		return "evm"
	}
	return "none"
}

// leftOutText stands for the balance of a token that was left out.
const leftOutText = "left out"

// leaveOutAgain leaves out the tokens that were left out of the opening balances: what
// their holders had before is not known.
func (l *Ledger) leaveOutAgain() error {
	for _, token := range l.leftOut {
		id := l.tokens.means[token]
		for i := range l.records {
			if r := &l.records[i]; r.token == id && r.flags&flagMark == 0 {
				err := fmt.Errorf("%w: token %s was left out of them: give its whole history apart, or leave it out (--token-is-not, or --on-bad-token skip)", ErrOpening, rows.Clip(l.tokens.texts[id]))
				if err := l.blame(id, l.place(r), err); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}
