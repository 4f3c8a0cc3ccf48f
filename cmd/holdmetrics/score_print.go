package main

import (
	"context"
	"fmt"
	"math/big"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	holdpb "holdmetrics/proto"
)

// question is what an answer is about.
func (b *book) question(q *scoreQuery, s *source) hold.Question {
	about := hold.Question{At: b.now, SettledAt: hold.MaxTime}
	if s.byBlock && s.ledger != nil {
		about.At = s.ledger.Summary().Last
	}
	if q.hasAsOf {
		about.At, about.SettledAt = q.asOf, q.asOf
	}
	if q.window {
		about.Window, about.From, about.SettledAt = true, q.from, about.At
	}
	return about
}

// answer is the figures of the pair with the i-th key.
func (b *book) answer(i int, about *hold.Question) hold.Answer {
	if b.set != nil {
		return b.set.Answer(&b.scored[i])
	}
	key := b.sorted[i]
	return b.rules.Of(key.token).Answer(b.pairs[key], about)
}

// figures are what a row has.
type figures struct{ hold.Answer }

// score, held, settledScore and settledHeld are the exact decimals of a row.
func (f *figures) score() string        { return difference(f.Live.Score, f.LiveFrom.Score) }
func (f *figures) settledScore() string { return difference(f.Settled.Score, f.Before.Score) }
func (f *figures) held() string         { return f.Live.Held.Sub(f.LiveFrom.Held).String() }
func (f *figures) settledHeld() string  { return f.Settled.Held.Sub(f.Before.Held).String() }

// difference is a - b, which a boost that falls can make negative.
func difference(a, b hold.Score) string {
	if a.Cmp(b) < 0 {
		return "-" + b.Sub(a).String()
	}
	return a.Sub(b).String()
}

// print writes the scores by holder, then token, as the server does.
func (b *book) print(c *cobra.Command, q *scoreQuery, s *source) error {
	if q.explain != "" {
		return b.printHolds(c, q, s)
	}
	columns := printing.ScoreColumns
	if !q.byToken {
		columns = columns[1:]
	}
	columns = append([]string(nil), columns...)
	if !q.window {
		columns = append(columns, "weight", "rate")
	}
	if q.share {
		columns = append(columns, "total_score", "total_settled_score", "share", "settled_share")
	}
	if s.byBlock {
		for i := range columns {
			columns[i] = blockColumn(columns[i])
		}
	}
	out, err := printing.NewRowWriter(c.OutOrStdout(), q.format, columns)
	if err != nil {
		return err
	}
	about, ctx := b.question(q, s), c.Context()
	totals := map[string]*figures{}
	if q.share {
		err := inParts(ctx, b.parts(), func(from, to int) map[string]*figures { return b.totals(q, &about, from, to) },
			func(part map[string]*figures) error {
				for token, f := range part {
					addTo(totals, token, &f.Answer)
				}
				return nil
			})
		if err != nil {
			return err
		}
	}
	err = inParts(ctx, b.parts(), func(from, to int) [][]string { return b.rows(q, &about, totals, from, to) },
		func(rows [][]string) error {
			for _, fields := range rows {
				if err := out.Write(fields...); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return err
	}
	return out.Close()
}

// partKeys is about how many pairs are worked out at once on one core.
const partKeys = 1024

// parts returns where the parts of the keys end. No holder is in two parts.
func (b *book) parts() (ends []int) {
	keys := b.keys()
	for end := 0; end < len(keys); {
		end = min(end+partKeys, len(keys))
		for end < len(keys) && keys[end].holder == keys[end-1].holder {
			end++
		}
		ends = append(ends, end)
	}
	return ends
}

// inParts calls work with the limits of each part, on all cores, and done with what it
// returns, part by part in their order.
func inParts[T any](ctx context.Context, ends []int, work func(from, to int) T, done func(T) error) error {
	results := make([]T, 4*runtime.GOMAXPROCS(0))
	from := 0
	for len(ends) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(results), len(ends))
		var next atomic.Int64
		var working sync.WaitGroup
		for range min(n, runtime.GOMAXPROCS(0)) {
			working.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					begin := from
					if i > 0 {
						begin = ends[i-1]
					}
					results[i] = work(begin, ends[i])
				}
			})
		}
		working.Wait()
		for _, result := range results[:n] {
			if err := done(result); err != nil {
				return err
			}
		}
		from, ends = ends[n-1], ends[n:]
	}
	return nil
}

// totals are the sums of some pairs, by token, or by "" without --by-token.
func (b *book) totals(q *scoreQuery, about *hold.Question, from, to int) map[string]*figures {
	totals := map[string]*figures{}
	for i := from; i < to; i++ {
		token := ""
		if q.byToken {
			token = b.sorted[i].token
		}
		a := b.answer(i, about)
		addTo(totals, token, &a)
	}
	return totals
}

func addTo(totals map[string]*figures, token string, a *hold.Answer) {
	if totals[token] == nil {
		totals[token] = new(figures)
	}
	totals[token].Add(a)
}

// rows are the rows of some pairs.
func (b *book) rows(q *scoreQuery, about *hold.Question, totals map[string]*figures, from, to int) [][]string {
	rows := make([][]string, 0, to-from)
	for i := from; i < to; {
		key := b.sorted[i]
		var f figures
		for ; i < to && b.sorted[i].holder == key.holder && (!q.byToken || b.sorted[i] == key); i++ {
			a := b.answer(i, about)
			f.Add(&a)
		}
		score, held := f.score(), f.held()
		settled, settledHeld := score, held
		if f.Live != f.Settled || f.LiveFrom != f.Before { // of most they are equal
			settled, settledHeld = f.settledScore(), f.settledHeld()
		}
		fields := []string{key.token, key.holder, score, held, settled, settledHeld}
		if !q.byToken {
			key.token = ""
			fields = fields[1:]
		}
		if !q.window {
			fields = append(fields, f.Weight.String(), f.Rate.String())
		}
		if q.share {
			t := totals[key.token]
			allLive, allSettled := t.score(), t.settledScore()
			fields = append(fields, allLive, allSettled, share(score, allLive, q.digits), share(settled, allSettled, q.digits))
		}
		rows = append(rows, fields)
	}
	return rows
}

// blockText is the text of a column of explain whose second is a block.
func blockText(name, text string, h *hold.Contribution) string {
	switch {
	case name == "start":
		return strconv.FormatInt(h.Start/1e9, 10)
	case name == "end" && h.End != 0:
		return strconv.FormatInt(h.End/1e9, 10)
	}
	return text
}

// blockColumn is the name of a column whose second is a block.
func blockColumn(name string) string {
	switch {
	case name == "start" || name == "end":
		return name + "_block"
	case strings.HasSuffix(name, "_seconds"):
		return strings.TrimSuffix(name, "seconds") + "blocks"
	case strings.HasSuffix(name, "score"):
		return name + "_blocks"
	case name == "rate":
		return "rate_per_block"
	}
	return name
}

// share is the exact decimal of part / total, rounded down to a number of digits;
// of nothing it is 0.
func share(part, total string, digits int) string {
	p, ok1 := new(big.Rat).SetString(part)
	t, ok2 := new(big.Rat).SetString(total)
	if !ok1 || !ok2 || t.Sign() == 0 {
		return "0"
	}
	p.Quo(p, t)
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n := new(big.Int).Mul(p.Num(), scale)
	n.Div(n, p.Denom()) // toward minus infinity
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Abs(n)
	}
	if digits == 0 {
		return sign + n.String()
	}
	text := fmt.Sprintf("%0*s", digits+1, n.String())
	text = strings.TrimRight(text[:len(text)-digits]+"."+text[len(text)-digits:], "0")
	return sign + strings.TrimSuffix(text, ".")
}

// printHolds writes the holds behind one holder.
func (b *book) printHolds(c *cobra.Command, q *scoreQuery, s *source) error {
	holder := b.rules.Holder(q.explain)
	if s.ledger != nil {
		holder = s.ledger.Holder(holder)
	}
	columns := explainColumns
	if q.format == "table" {
		columns = explainTable(b.rules.Version())
	}
	names := namesOf(columns)
	if s.byBlock {
		for i := range names {
			names[i] = blockColumn(names[i])
		}
	}
	out, err := printing.NewRowWriter(c.OutOrStdout(), q.format, names)
	if err != nil {
		return err
	}
	about := b.question(q, s)
	found := false
	for _, k := range b.keys() {
		if k.holder != holder {
			continue
		}
		found = true
		rule := b.rules.Of(k.token)
		contributions := rule.Explain(b.pairs[k], about.From, about.At)
		for i := range contributions {
			row := contributionOf(&contributions[i], k.token, b.pairs[k].Policy(), q.window)
			fields := make([]string, len(columns))
			for j, column := range columns {
				if fields[j] = column.of(row); s.byBlock {
					fields[j] = blockText(column.name, fields[j], &contributions[i])
				}
			}
			if err := out.Write(fields...); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("no holder %s is in the files; ids are compared letter by letter", rows.Quote(q.explain))
	}
	return out.Close()
}

// contributionOf is a hold as a server tells it.
func contributionOf(h *hold.Contribution, token string, policy hold.Policy, window bool) *holdpb.Contribution {
	row := &holdpb.Contribution{
		TokenId: token, Policy: policy.String(), Weight: h.Weight.String(), HoldId: h.HoldID,
		Start: connect.TimestampOf(hold.StampOf(h.Start)),
		Alone: h.Alone.Score.String(), Counted: h.Counted.Score.String(), Removed: h.Removed().String(),
		HeldSeconds: h.Plain.Held.String(), CountedSeconds: h.Counted.Held.String(),
		Plain: h.Plain.Score.String(), Cut: h.Cut().String(), Multiplied: h.Multiplied().String(), Boosted: h.Boosted().String(), Added: h.Added().String(),
	}
	if h.End != 0 {
		row.End = connect.TimestampOf(hold.StampOf(h.End))
	}
	if !window {
		row.Settled = h.Settled.Score.String()
	}
	return row
}
