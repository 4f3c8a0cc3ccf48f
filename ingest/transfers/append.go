package transfers

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"holdmetrics/ingest/rows"
)

// Balance is the open hold of a pair, as a server tells it.
type Balance struct {
	Token, Holder string
	Weight        string // exact decimal
	Since         time.Time
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

// Missing returns the first of some open holds that the events of the ledger do not
// have, and true if there is one.
func (l *Ledger) Missing(ctx context.Context, open []Balance) (Balance, bool) {
	if len(open) == 0 {
		return Balance{}, false
	}
	type start struct {
		token, holder, weight string
		ns                    int64
	}
	have := map[start]bool{}
	for _, o := range open {
		have[start{o.Token, o.Holder, o.Weight, o.Since.UnixNano()}] = false
	}
	b := newBook(l)
	note := func(e rows.Event) bool {
		weight := e.Draft.WeightExact
		if weight == "" {
			weight = "1"
		}
		key := start{e.Draft.Token, e.Draft.Holder, weight, e.Draft.Start.Seconds*1e9 + int64(e.Draft.Start.Nanos)}
		if _, asked := have[key]; asked {
			have[key] = true
		}
		return true
	}
	summary := l.summary
	b.emitOpening(note)
	_, err := b.run(ctx, note)
	l.summary = summary // this run is not reported
	if err != nil {
		return Balance{}, false // which Events returns
	}
	for _, o := range open {
		if !have[start{o.Token, o.Holder, o.Weight, o.Since.UnixNano()}] {
			return o, true
		}
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
	token, holder := l.tokens.index[b.Token], l.holders.index[b.Holder]
	ns := b.Since.UnixNano()
	l.opening = append(l.opening, opening{token: token, holder: holder, units: units, fine: fine, since: ns})
	if l.openedOf == nil {
		l.openedOf = map[uint32]int64{}
	}
	l.openedOf[token] = max(l.openedOf[token], ns)
	return nil
}
