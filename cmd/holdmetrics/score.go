package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
	"holdmetrics/ingest/transfers"
)

func newScore() *cobra.Command {
	c := &cobra.Command{
		Use:   "score",
		Short: "Score files offline, with no server",
		Long: `Score reads the files that 'holdmetrics import' reads and prints what
'holdmetrics stats' would print of them, with no server and nothing kept. With
--rules it counts by a rules file, to try one before a rebuild.

Scores are as of --as-of (default: now), or of the window from --from to --to. weight
is what is held at that instant, by the policy of the token, and rate what the score
grows by in a second. --share adds each row's part of the sum over all holders, of the
same token with --by-token: an exact fraction, rounded down to --digits digits.
--explain HOLDER prints the holds behind one holder, as 'holdmetrics explain' does.`,
	}
	ofTransfers := &cobra.Command{
		Use:   "transfers FILE...",
		Short: "Score token Transfer logs",
		Long: `Score transfers reads what 'holdmetrics import transfers' reads; its help explains
the options.`,
		Example: `  holdmetrics score transfers transfers.csv.gz --by-token --format csv
  holdmetrics score transfers token_transfers.csv --blocks blocks.csv
  holdmetrics score transfers transfers.csv --decimals 18 --as-of 2021-07-13T23:30:32Z`,
		Args: usage.OneOrMoreFiles,
	}
	scoreCommand(ofTransfers, transferFlags(ofTransfers).open, true)
	ofBalances := &cobra.Command{
		Use:   "balances FILE...",
		Short: "Score statements of balance",
		Long: `Score balances reads what 'holdmetrics import balances' reads; its help explains
the options.`,
		Example: `  holdmetrics score balances balances.csv --by-token
  holdmetrics score balances daily.parquet --snapshots --from 2026-01-01 --to 2026-02-01`,
		Args: usage.OneOrMoreFiles,
	}
	scoreCommand(ofBalances, balanceFlags(ofBalances).open, false)
	ofEvents := &cobra.Command{
		Use:   "events FILE...",
		Short: "Score hold events",
		Long: `Score events reads what 'holdmetrics import events' reads; its help explains the
fields. Bad rows are named as FILE:LINE, all of them up to twenty. If there is one, no
scores are printed and the command ends with 1.`,
		Example: `  holdmetrics score events events.ndjson --policy sum
  holdmetrics score events events.ndjson --rules rules.yaml`,
		Args: usage.OneOrMoreFiles,
	}
	scoreCommand(ofEvents, eventFlags(ofEvents), false)
	c.AddCommand(ofTransfers, ofBalances, ofEvents)
	return c
}

// scoreCommand gives a command its flags and what it does. columns is whether --from
// and --to may name columns, as in earlier versions.
func scoreCommand(c *cobra.Command, open openSource, columns bool) {
	q := scoreQuery{columns: columns}
	var policy, rulesFile string
	limits := hold.DefaultLimits()
	q.flags(c)
	c.Flags().StringVar(&policy, "policy", hold.Merge.String(), "how overlapping holds of a pair count: merge or sum")
	c.Flags().StringVar(&rulesFile, "rules", "", "count by this rules `file`; see 'holdmetrics rules --help'")
	settings.LimitFlags(c.Flags(), &limits)
	c.RunE = func(c *cobra.Command, files []string) error {
		now := usage.WallClock()
		if err := q.check(c, now); err != nil {
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
		bar := printing.NewProgress(c, files)
		progress := rows.NewProgress(bar.Add)
		use := sourceUse{read: progress.Add, score: true}
		use.ids = func() (holders, tokens transfers.IDs, err error) { return idsOf(by) }
		s, err := open(files, use)
		if err != nil {
			return err
		}
		if err := q.checkFuture(c.ErrOrStderr(), s.byBlock, now); err != nil {
			return err
		}
		b := book{rules: by, now: now, limits: limits, pairs: make(map[pairKey]*hold.Pair), names: make(map[string]string)}
		if err = b.score(c.Context(), &q, s); errors.Is(err, sharded.ErrPlain) {
			progress.Again()
			err = b.read(c.Context(), s)
		}
		bar.Clear()
		summary := s.tell(c.ErrOrStderr())
		if err != nil {
			return printing.Interrupted(err)
		}
		b.lookalikes(c.ErrOrStderr(), s)
		b.overruled.Tell(c.ErrOrStderr())
		if n := s.bad.Rows(); n > 0 {
			return fmt.Errorf("%s refused, so no scores are printed", printing.Counted(n, "row was", "rows were"))
		}
		if err := b.print(c, &q, s); err != nil {
			return printing.Interrupted(err)
		}
		if s.done != nil {
			if err := s.done(); err != nil {
				return err
			}
		}
		if summary.badTokens > 0 {
			return fmt.Errorf("%s %w", printing.Counted(int64(summary.badTokens), "token was", "tokens were"), errBadTokens)
		}
		return nil
	}
}

// idsOf is how ids are normalised by rules. Rules that leave it open leave it to the ids
// themselves.
func idsOf(by hold.Rules) (holders, tokens transfers.IDs, err error) {
	r, ok := by.(*rules.Rules)
	if !ok {
		return transfers.IDsAuto, transfers.IDsAuto, nil
	}
	return parseIDs(r.Normalisation())
}

// parseIDs reads how rules normalise ids; empty texts leave it open.
func parseIDs(ofHolders, ofTokens string) (holders, tokens transfers.IDs, err error) {
	ways := map[string]transfers.IDs{"": transfers.IDsAuto, "none": transfers.IDsNone, "evm": transfers.IDsEVM}
	holders, known := ways[ofHolders]
	tokens, too := ways[ofTokens]
	if !known || !too {
		return 0, 0, fmt.Errorf("rules normalise ids in a way that this version does not know (%s, %s): give --ids", rows.Safe(ofHolders), rows.Safe(ofTokens))
	}
	return holders, tokens, nil
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
	sorted []pairKey // after read

	set    *sharded.Set // instead of pairs: they were worked out on several cores
	scored []sharded.Pair

	overruled upload.Overruled
}

// score works out the pairs of files on all cores. The error matches [sharded.ErrPlain] if
// they have to be read event by event.
func (b *book) score(ctx context.Context, q *scoreQuery, s *source) error {
	if s.score == nil || s.done != nil || q.explain != "" {
		return sharded.ErrPlain // holds and closing balances are not kept
	}
	set, err := s.score(ctx, sharded.Terms{
		Question: b.question(q, s), AtLast: s.byBlock && s.ledger != nil && !q.hasAsOf, Rules: b.rules, Now: b.now, Limits: b.limits, Cores: runtime.GOMAXPROCS(0),
	})
	if err != nil {
		return err
	}
	b.set, b.scored = set, set.Pairs()
	return nil
}

// read adds the events of files to their pairs.
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
			row := &rows.Error{Place: e.Place, Err: &upload.RefusedError{Message: err.Error()}}
			if s.bad == nil {
				return row
			}
			s.bad.AddUnsent(row)
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
		if f.HoldID != "" {
			standing := hold.StandingOf(p, f.HoldID)
			why := standing.Overruled(&f)
			if why.By == hold.NotOverruled {
				why = hold.StopOverruled(p, &f)
			}
			if why.By != hold.NotOverruled {
				b.overruled.Add(e.Place, why.String())
			}
		}
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

// lookalikes warns of ids of events that differ in case or invisible characters
// alone. A ledger has its own words for those of its files.
func (b *book) lookalikes(out io.Writer, s *source) {
	if s.ledger != nil {
		return
	}
	holders, tokens := make([]string, 0, len(b.pairs)), []string{}
	last := ""
	seen := map[string]bool{}
	for _, k := range b.keys() {
		if len(holders) == 0 || k.holder != last {
			holders, last = append(holders, k.holder), k.holder
		}
		if !seen[k.token] {
			seen[k.token] = true
			tokens = append(tokens, k.token)
		}
	}
	tellLookalikes(out, holders, tokens)
}

// keys are the pairs by holder, then token.
func (b *book) keys() []pairKey {
	if b.sorted == nil && b.set != nil {
		b.sorted = make([]pairKey, len(b.scored))
		for i := range b.scored {
			b.sorted[i] = pairKey{b.scored[i].Holder, b.scored[i].Token}
		}
		return b.sorted
	}
	if b.sorted == nil {
		b.sorted = make([]pairKey, 0, len(b.pairs))
		for k := range b.pairs {
			b.sorted = append(b.sorted, k)
		}
		slices.SortFunc(b.sorted, func(x, y pairKey) int {
			return cmp.Or(cmp.Compare(x.holder, y.holder), cmp.Compare(x.token, y.token))
		})
	}
	return b.sorted
}
