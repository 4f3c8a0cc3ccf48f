package transfers

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// Balance is a hold of a pair, as a server tells it.
type Balance struct {
	Token, Holder string
	Weight        string // exact decimal
	Since         time.Time
	Until         time.Time // zero: it is open
}

// covers reports whether it is the balance just before an instant.
func (b *Balance) covers(ns int64) bool {
	return b.Since.UnixNano() < ns && (b.Until.IsZero() || b.Until.UnixNano() >= ns)
}

// Covering returns those of some balances that stand just before the first record of
// their token.
func (l *Ledger) Covering(all []Balance) (covering []Balance) {
	for i := range all {
		if first, ok := l.firsts()[all[i].Token]; ok && all[i].covers(first) {
			covering = append(covering, all[i])
		}
	}
	return covering
}

// Overlap reports whether some balances have to be compared with the rows: one of them
// begins or ends after the first record of its token.
func (l *Ledger) Overlap(all []Balance) bool {
	return slices.ContainsFunc(all, func(b Balance) bool {
		first, ok := l.firsts()[b.Token]
		return ok && (b.Since.UnixNano() >= first || !b.Until.IsZero() && b.Until.UnixNano() > first)
	})
}

// firsts returns the time of the first record of each token.
func (l *Ledger) firsts() map[string]int64 {
	if l.firstOf == nil {
		l.firstOf = map[string]int64{}
		seen := make([]bool, len(l.tokens.texts))
		for i := range l.records { // which are sorted
			if r := &l.records[i]; r.flags&flagMark == 0 && !seen[r.token] && l.bad[r.token] == nil {
				seen[r.token] = true
				l.firstOf[l.tokens.texts[r.token]] = r.at
			}
		}
	}
	return l.firstOf
}

// TokenNames are the tokens of the records that were loaded, in their order.
func (l *Ledger) TokenNames() (all []string) {
	seen := make([]bool, len(l.tokens.texts))
	for i := range l.records {
		if t := l.records[i].token; l.records[i].flags&flagMark == 0 && !seen[t] && l.bad[t] == nil {
			seen[t] = true
			all = append(all, l.tokens.texts[t])
		}
	}
	slices.Sort(all)
	return all
}

// Pairs are the tokens of the records that were loaded, with their holders, in order.
func (l *Ledger) Pairs() iter.Seq2[string, []string] {
	holders := map[uint32]map[uint32]bool{}
	for i := range l.records {
		r := &l.records[i]
		if r.flags&flagMark != 0 || l.bad[r.token] != nil {
			continue
		}
		of := holders[r.token]
		if of == nil {
			of = map[uint32]bool{}
			holders[r.token] = of
		}
		for _, h := range [2]uint32{r.from, r.to} {
			if h != nobody {
				of[h] = true
			}
		}
	}
	return func(yield func(string, []string) bool) {
		for _, token := range l.TokenNames() {
			var names []string
			for h := range holders[l.tokens.index[token]] {
				names = append(names, l.holders.texts[h])
			}
			slices.Sort(names)
			if !yield(token, names) {
				return
			}
		}
	}
}

// pairOf names a pair.
type pairOf struct{ token, holder string }

// span is a hold of a ledger; until is 0 if it is open.
type span struct {
	until  int64
	weight string
}

// Comparison is what the files of a ledger come to, beside what a server has of the same
// pairs.
type Comparison struct {
	firsts map[string]int64
	spans  map[pairOf]map[int64]span // by start
}

// Compare follows the balances of the ledger, from its opening balances on. An error of
// the rows is left to [Ledger.Events].
func (l *Ledger) Compare(ctx context.Context) (*Comparison, error) {
	c := &Comparison{firsts: l.firsts(), spans: map[pairOf]map[int64]span{}}
	b := newBook(l)
	note := func(e rows.Event) bool {
		pair := pairOf{e.Draft.Token, e.Draft.Holder}
		if c.spans[pair] == nil {
			c.spans[pair] = map[int64]span{}
		}
		s := span{weight: e.Draft.WeightExact}
		if s.weight == "" {
			s.weight = "1"
		}
		if e.Draft.End.Set {
			s.until = nanos(e.Draft.End)
		}
		c.spans[pair][nanos(e.Draft.Start)] = s
		return true
	}
	summary := l.summary
	b.emitOpening(note)
	_, err := b.run(ctx, note)
	l.summary = summary // this run is not reported
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return &Comparison{}, nil
	}
	return c, nil
}

func nanos(s hold.Stamp) int64 { return s.Seconds*1e9 + int64(s.Nanos) }

// Knows reports whether the files come to a balance too. It may be open on the server
// and ended in the files.
func (c *Comparison) Knows(b *Balance) bool {
	s, ok := c.spans[pairOf{b.Token, b.Holder}][b.Since.UnixNano()]
	return ok && s.weight == b.Weight && (b.Until.IsZero() || s.until == b.Until.UnixNano())
}

// Repeats reports whether a server has everything that the files say of a pair. all is
// every balance of the pair on the server.
func (c *Comparison) Repeats(token, holder string, all []Balance) bool {
	for start, s := range c.spans[pairOf{token, holder}] {
		if !slices.ContainsFunc(all, func(b Balance) bool {
			return b.Since.UnixNano() == start && b.Weight == s.weight && (s.until == 0 || !b.Until.IsZero() && b.Until.UnixNano() == s.until)
		}) {
			return false
		}
	}
	return true
}

// Conflict returns a balance that a server has at or after the first row of its token
// and that the files do not come to, while they say something of that pair that the
// server does not have. It reports whether there is one. all is every balance of the
// pair on the server.
func (c *Comparison) Conflict(token, holder string, all []Balance) (Balance, bool) {
	first, ok := c.firsts[token]
	if !ok {
		return Balance{}, false
	}
	for i := range all {
		b := &all[i]
		if ends := b.Until; !ends.IsZero() && ends.UnixNano() <= first || c.Knows(b) {
			continue
		}
		return *b, !c.Repeats(token, holder, all)
	}
	return Balance{}, false
}

// AddOpening makes the open hold of a pair its opening balance, after the files were
// loaded. Only later transfers of the token fit.
func (l *Ledger) AddOpening(b Balance) error {
	exact := Options{Round: RoundDown}
	units, fine, err := exact.parseValue(b.Weight, 0)
	if err != nil {
		return fmt.Errorf("%w: %s of %s: %w", ErrOpening, rows.Clip(b.Holder), rows.Clip(b.Token), err)
	}
	token, holder := l.tokens.index[b.Token], l.holders.add(b.Holder)
	if int(holder) == len(l.holders.means) {
		l.holders.grow(int(holder), holder) // no row names it
	}
	ns := b.Since.UnixNano()
	l.opening = append(l.opening, opening{token: token, holder: holder, units: units, fine: fine, since: ns})
	if l.openedOf == nil {
		l.openedOf = map[uint32]int64{}
	}
	l.openedOf[token] = max(l.openedOf[token], ns)
	return nil
}
