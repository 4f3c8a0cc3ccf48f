package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/transfers"
	holdpb "holdmetrics/proto"
)

var (
	// errContinue means that an import would begin from nothing where the server has
	// balances.
	errContinue = errors.New("the server has open balances that these files do not know")
	// errOverlap means that the server knows something else of the time of the files.
	errOverlap = errors.New("the server has other balances at the time of these rows")
)

const (
	// askedOpen is how many holders of a token are looked at for open balances that the
	// files do not have.
	askedOpen = 100
	// askedAtOnce is how many calls are on their way at once.
	askedAtOnce = 8
	// askedEach is up to how many tokens are asked for one by one. A file of NFTs has
	// thousands, for which the scores of all tokens are read once.
	askedEach = 16
	// askedOthers is how many rows of other tokens are passed over for each token that is
	// looked for. With more of them, the tokens are asked for one by one.
	askedOthers = 1000
	// askedFirst is how many tokens are compared first, because a file whose history is
	// missing is refused by its first token.
	askedFirst = 16
)

// continuing compares the files of a ledger with what a server has.
type continuing struct {
	query  holdpb.HoldMetricsQueryClient
	ledger *transfers.Ledger
	// after is the position that the server waits for; 0: what the log holds when it is
	// asked. One such wait is enough.
	after uint64
}

// tokenHolders are holders of a token.
type tokenHolders struct {
	token   string
	holders []string // in order
}

// known is what a server has of the holders of a token.
type known struct {
	open  []string        // holders with something that is not settled, the first or all of them
	named map[string]bool // those of the files that it knows
}

// pair is a holder's token.
type pair struct{ token, holder string }

// inFiles are the tokens and holders of the files.
func (c *continuing) inFiles() (all []tokenHolders) {
	for token, holders := range c.ledger.Pairs() {
		all = append(all, tokenHolders{token, holders})
	}
	return all
}

// fromNothing refuses files of tokens of which the server has open balances that the
// files do not come to themselves, and rows that contradict what the server has of
// their time. Files that say nothing new are accepted: to import them again changes
// nothing.
func (c *continuing) fromNothing(ctx context.Context) error {
	files := c.inFiles()
	known, err := c.survey(ctx, files, askedOpen)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(t tokenHolders) bool { return known[t.token] == nil })
	if len(files) == 0 {
		return nil
	}
	comparison, err := c.ledger.Compare(ctx)
	if err != nil {
		return err
	}
	first := min(len(files), askedFirst)
	for _, part := range [][]tokenHolders{files[:first], files[first:]} {
		if err := c.compare(ctx, comparison, part, known); err != nil {
			return err
		}
	}
	return nil
}

// compare refuses tokens as fromNothing does.
func (c *continuing) compare(ctx context.Context, comparison *transfers.Comparison, files []tokenHolders, known map[string]*known) error {
	var asked []pair
	for _, t := range files {
		for _, holder := range known[t.token].open {
			asked = append(asked, pair{t.token, holder})
		}
	}
	open, err := c.balancesOf(ctx, asked)
	if err != nil {
		return err
	}
	missing := map[string]*transfers.Balance{}
	for _, p := range asked {
		for i := range open[p] {
			if b := &open[p][i]; b.Until.IsZero() && missing[p.token] == nil && !comparison.Knows(b) {
				missing[p.token] = b
			}
		}
	}
	refuse := func(b *transfers.Balance) error {
		return fmt.Errorf("%w, such as that of %s of %s since %s: continue from the balances that --closing wrote (--opening FILE), or from those of the server (--append)",
			errContinue, rows.Clip(b.Holder), rows.Clip(b.Token), instant(b.Since))
	}
	asked = asked[:0]
	for _, t := range files {
		for _, holder := range t.holders {
			switch {
			case known[t.token].named[holder]:
				asked = append(asked, pair{t.token, holder})
			case missing[t.token] != nil && !comparison.Repeats(t.token, holder, nil):
				return refuse(missing[t.token])
			}
		}
	}
	all, err := c.balancesOf(ctx, asked)
	if err != nil {
		return err
	}
	for _, p := range asked {
		if b := missing[p.token]; b != nil && !comparison.Repeats(p.token, p.holder, all[p]) {
			return refuse(b)
		}
		if err := conflict(comparison, p, all[p]); err != nil {
			return err
		}
	}
	return nil
}

// fromServer starts the ledger from the balances that the server has of the pairs of its
// files, just before the first row of each token. With snapshots these are all pairs of
// the tokens.
func (c *continuing) fromServer(ctx context.Context, snapshots bool) error {
	files := c.inFiles()
	mostOpen := 0
	if snapshots {
		mostOpen = math.MaxInt
	}
	known, err := c.survey(ctx, files, mostOpen)
	if err != nil {
		return err
	}
	var asked []pair
	for _, t := range files {
		if known[t.token] == nil {
			continue
		}
		holders := slices.DeleteFunc(t.holders, func(h string) bool { return !known[t.token].named[h] })
		if snapshots {
			holders = append(holders, known[t.token].open...)
			slices.Sort(holders)
			holders = slices.Compact(holders)
		}
		for _, holder := range holders {
			asked = append(asked, pair{t.token, holder})
		}
	}
	all, err := c.balancesOf(ctx, asked)
	if err != nil {
		return err
	}
	overlap := false
	for _, p := range asked {
		overlap = overlap || c.ledger.Overlap(all[p])
		before := c.ledger.Covering(all[p])
		if len(before) > 1 {
			return usage.Errorf("--append: %s of %s has %d holds at once on the server, and a balance is one: give --opening", rows.Clip(p.holder), rows.Clip(p.token), len(before))
		}
		for _, b := range before {
			if err := c.ledger.AddOpening(b); err != nil {
				return err
			}
		}
	}
	if !overlap {
		return nil // the rows are later than what the server has
	}
	comparison, err := c.ledger.Compare(ctx)
	if err != nil {
		return err
	}
	for _, p := range asked {
		if err := conflict(comparison, p, all[p]); err != nil {
			return err
		}
	}
	return nil
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// conflict refuses rows that contradict the balances that the server has of a pair.
func conflict(comparison *transfers.Comparison, p pair, all []transfers.Balance) error {
	b, is := comparison.Conflict(p.token, p.holder, all)
	if !is {
		return nil
	}
	until := "on"
	if !b.Until.IsZero() {
		until = "to " + instant(b.Until)
	}
	return fmt.Errorf("%w, such as %s of %s from %s %s, which %s has there: give only rows that are later than what was imported, or all rows of that time",
		errOverlap, b.Weight, rows.Clip(p.token), instant(b.Since), until, rows.Clip(p.holder))
}

// survey returns what the server knows of each token that it knows, with at most mostOpen
// of the holders that have something open.
func (c *continuing) survey(ctx context.Context, files []tokenHolders, mostOpen int) (map[string]*known, error) {
	all := map[string]*known{}
	holders := make(map[string][]string, len(files))
	for _, t := range files {
		holders[t.token] = t.holders
	}
	note := func(token string, row *holdpb.Score) {
		k := all[token]
		if k == nil {
			k = &known{named: map[string]bool{}}
			all[token] = k
		}
		if isOpen(row) && len(k.open) < mostOpen {
			k.open = append(k.open, row.GetHolderId())
		}
		if _, in := slices.BinarySearch(holders[token], row.GetHolderId()); in {
			k.named[row.GetHolderId()] = true
		}
	}
	if len(files) > askedEach {
		others := 0
		err := c.each(ctx, "", func(row *holdpb.Score) bool {
			if _, asked := holders[row.GetTokenId()]; asked {
				note(row.GetTokenId(), row)
			} else {
				others++
			}
			return others <= askedOthers*len(files)
		})
		if err != nil || others <= askedOthers*len(files) {
			return all, err
		}
		clear(all)
	}
	for _, t := range files {
		err := c.each(ctx, t.token, func(row *holdpb.Score) bool {
			note(t.token, row)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// each calls f with every row of the scores of a token, or of all tokens if it is empty,
// until f returns false. The server answers the first call after it has applied
// everything that was acknowledged.
func (c *continuing) each(ctx context.Context, token string, f func(row *holdpb.Score) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := c.query.Scores(ctx, &holdpb.ScoresRequest{TokenId: token, ByToken: true, After: c.after})
	if err != nil {
		return err
	}
	for {
		row, err := stream.Recv()
		if code := status.Code(err); err == io.EOF || code == codes.NotFound || code == codes.Unimplemented {
			return nil // it has no more, or none, or no reads
		}
		if err != nil {
			return err
		}
		c.after = 1 // which is there: a row comes from an event
		if !f(row) {
			return nil
		}
	}
}

func isOpen(row *holdpb.Score) bool {
	return row.GetScore() != row.GetSettledScore() || row.GetHeldSeconds() != row.GetSettledHeldSeconds()
}

// balancesOf returns the holds without hold_id of some pairs. A holder of several of the
// tokens is asked for once.
func (c *continuing) balancesOf(ctx context.Context, pairs []pair) (map[pair][]transfers.Balance, error) {
	tokens := map[string][]string{} // of a holder
	for _, p := range pairs {
		tokens[p.holder] = append(tokens[p.holder], p.token)
	}
	all := make(map[pair][]transfers.Balance, len(pairs))
	for _, p := range pairs {
		all[p] = nil
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for holder, of := range tokens {
		group.Go(func() error {
			token := ""
			if len(of) == 1 {
				token = of[0]
			}
			found, err := c.balances(ctx, token, holder)
			mu.Lock()
			defer mu.Unlock()
			for _, b := range found {
				if p := (pair{b.Token, b.Holder}); err == nil {
					if before, asked := all[p]; asked {
						all[p] = append(before, b)
					}
				}
			}
			return err
		})
	}
	return all, group.Wait()
}

// balances returns the holds of a holder without hold_id, of a token or of all.
func (c *continuing) balances(ctx context.Context, token, holder string) (all []transfers.Balance, err error) {
	stream, err := c.query.Explain(ctx, &holdpb.ExplainRequest{HolderId: holder, TokenId: token, After: c.after})
	if err != nil {
		return nil, err
	}
	for {
		h, err := stream.Recv()
		if err == io.EOF || status.Code(err) == codes.NotFound {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if h.GetStart() == nil || h.GetHoldId() != "" {
			continue // what was sealed, and what files of transfers do not state
		}
		b := transfers.Balance{Token: cmp.Or(token, h.GetTokenId()), Holder: holder, Weight: h.GetWeight(), Since: h.GetStart().AsTime()}
		if h.GetEnd() != nil {
			b.Until = h.GetEnd().AsTime()
		}
		all = append(all, b)
	}
}
