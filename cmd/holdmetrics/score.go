package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

func newScore() *cobra.Command {
	c := &cobra.Command{
		Use:   "score",
		Short: "Score files offline, with no server",
		Long: `Score reads the files that 'holdmetrics import' reads and prints what
'holdmetrics stats' would print of them, with no server and nothing kept. With
--rules it counts by a rules file, to try one before a rebuild.`,
	}
	ofTransfers := &cobra.Command{
		Use:   "transfers FILE...",
		Short: "Score token Transfer logs (CSV, also .gz)",
		Example: `  holdmetrics score transfers transfers.csv.gz --by-token --format csv
  holdmetrics score transfers transfers.csv --decimals 18 --as-of 2021-07-13T23:30:32Z`,
		Args: oneOrMoreFiles,
	}
	scoreCommand(ofTransfers, transferFlags(ofTransfers))
	ofEvents := &cobra.Command{
		Use:   "events FILE...",
		Short: "Score hold events (CSV or NDJSON, also .gz)",
		Long: `Score events reads what 'holdmetrics import events' reads; its help tells the
fields. Bad rows are named as FILE:LINE, all of them up to twenty; where there is
one, no scores are printed and the command ends with 1.`,
		Example: `  holdmetrics score events events.ndjson --policy sum
  holdmetrics score events events.ndjson --rules rules.yaml`,
		Args: oneOrMoreFiles,
	}
	scoreCommand(ofEvents, eventsSource)
	c.AddCommand(ofTransfers, ofEvents)
	return c
}

// scoreCommand gives a command its flags and what it does.
func scoreCommand(c *cobra.Command, open openSource) {
	var q query
	var policy, rulesFile string
	limits := hold.DefaultLimits()
	q.flags(c)
	c.Flags().StringVar(&policy, "policy", hold.Merge.String(), "how overlapping holds of a pair count: merge or sum")
	c.Flags().StringVar(&rulesFile, "rules", "", "count by this rules `file`; see 'holdmetrics rules --help'")
	settings.LimitFlags(c.Flags(), &limits)
	c.RunE = func(c *cobra.Command, files []string) error {
		now := wallClock()
		if err := q.check(now); err != nil {
			return err
		}
		p, err := hold.ParsePolicy(policy)
		if err != nil {
			return usage.Wrap(err)
		}
		by := hold.PlainRules(p)
		switch {
		case rulesFile != "" && c.Flags().Changed("policy"):
			return usage.Errorf("--rules and --policy are both given; a rules file has its own default policy")
		case rulesFile == "" && c.Flags().Changed("rules"):
			return usage.Errorf("--rules is empty; name a rules file")
		case rulesFile != "":
			if by, err = openRules(c, rulesFile); err != nil {
				return err
			}
		}
		bar := newProgress(c, files)
		s, err := open(files, bar.add)
		if err != nil {
			return err
		}
		b := book{rules: by, now: now, limits: limits, pairs: make(map[pairKey]*hold.Pair), names: make(map[string]string)}
		err = b.read(c.Context(), s)
		bar.clear()
		s.tell(c.ErrOrStderr())
		if err != nil {
			return interrupted(err)
		}
		if n := s.bad.rows(); n > 0 {
			return fmt.Errorf("%s refused, so no scores are printed", counted(n, "row was", "rows were"))
		}
		if err := b.print(c, &q); err != nil {
			return interrupted(err)
		}
		if s.done != nil {
			return s.done()
		}
		return nil
	}
}

// checkEvery is after how many events or rows a command looks whether it was interrupted.
const checkEvery = 1024

type pairKey struct{ holder, token string }

// book is every pair of the files that are scored.
type book struct {
	rules  hold.Rules
	now    int64
	limits hold.Limits
	pairs  map[pairKey]*hold.Pair
	names  map[string]string
}

func (b *book) read(ctx context.Context, s *source) error {
	n := 0
	for e, err := range s.events(ctx) {
		if err != nil {
			return err
		}
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		checked, err := e.Draft.Check(b.now, b.limits)
		if err == nil {
			err = b.accept(&checked)
		}
		if err != nil {
			row := &rows.Error{Place: e.Place, Err: &refusedError{err.Error()}}
			if s.bad == nil {
				return row
			}
			s.bad.addUnsent(row)
			continue
		}
		if b.rules.Excluded(checked.Holder) {
			continue
		}
		key := pairKey{checked.Holder, checked.Token}
		p := b.pairs[key]
		if p == nil {
			p = hold.NewPair(b.rules.Of(key.token).Policy)
			b.pairs[pairKey{b.name(key.holder), b.name(key.token)}] = p
		}
		f := checked.Fact()
		f.HoldID = strings.Clone(f.HoldID) // it may hold on to its whole row
		p.Add(f)
	}
	return nil
}

// accept normalises an event's ids, or says why the rules refuse it.
func (b *book) accept(e *hold.Event) error {
	e.Token, e.Holder = b.rules.Token(e.Token), b.rules.Holder(e.Holder)
	return b.rules.Of(e.Token).Accepts(e.HoldID)
}

func (b *book) name(s string) string {
	if kept, ok := b.names[s]; ok {
		return kept
	}
	kept := strings.Clone(s)
	b.names[kept] = kept
	return kept
}

// print writes the scores by holder, then token, as the server does.
func (b *book) print(c *cobra.Command, q *query) error {
	keys := make([]pairKey, 0, len(b.pairs))
	for k := range b.pairs {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y pairKey) int {
		return cmp.Or(cmp.Compare(x.holder, y.holder), cmp.Compare(x.token, y.token))
	})
	out, err := newScoreWriter(c.OutOrStdout(), q.format, q.byToken)
	if err != nil {
		return err
	}
	at, settledAt := b.now, hold.MaxTime
	if q.hasAsOf {
		at, settledAt = q.asOf, q.asOf
	}
	ctx, printed := c.Context(), 0
	for i := 0; i < len(keys); {
		if printed++; printed%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		key := keys[i]
		token := ""
		if q.byToken {
			token = key.token
		}
		var live, settled hold.Amount
		for ; i < len(keys) && keys[i].holder == key.holder && (!q.byToken || keys[i] == key); i++ {
			p, r := b.pairs[keys[i]], b.rules.Of(keys[i].token)
			live, settled = live.Add(r.LiveAt(p, at)), settled.Add(r.SettledAt(p, settledAt))
		}
		err := out.Write(&scoreRow{
			Token: token, Holder: key.holder,
			Score: live.Score.String(), Held: live.Held.String(),
			Settled: settled.Score.String(), SettledHeld: settled.Held.String(),
		})
		if err != nil {
			return err
		}
	}
	return out.Close()
}
