package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	// askedAtOnce is how many holders are asked for at once.
	askedAtOnce = 8
)

// continuing compares the files of a ledger with what a server has.
type continuing struct {
	query  holdpb.HoldMetricsQueryClient
	ledger *transfers.Ledger
}

// known is what a server has of the holders of a token.
type known struct {
	open  []string        // holders with something that is not settled, the first of them
	named map[string]bool // those of the files that it knows
}

// fromNothing refuses files of tokens of which the server has open balances that the
// files do not come to themselves, and rows that contradict what the server has of
// their time. Files that say nothing new are accepted: to import them again changes
// nothing.
func (c *continuing) fromNothing(ctx context.Context) error {
	var comparison *transfers.Comparison
	for token, holders := range c.ledger.Pairs() {
		known, err := c.holdersOf(ctx, token, holders)
		if err != nil {
			return err
		}
		if len(known.open) == 0 && len(known.named) == 0 {
			continue
		}
		if comparison == nil {
			if comparison, err = c.ledger.Compare(ctx); err != nil {
				return err
			}
		}
		missing, err := c.missing(ctx, comparison, token, known.open)
		if err != nil {
			return err
		}
		refuse := func() error {
			return fmt.Errorf("%w, such as that of %s of %s since %s: continue from the balances that --closing wrote (--opening FILE), or from those of the server (--append)",
				errContinue, rows.Clip(missing.Holder), rows.Clip(token), instant(missing.Since))
		}
		holders = slices.DeleteFunc(holders, func(h string) bool {
			return !known.named[h] && (missing == nil || comparison.Repeats(token, h, nil))
		})
		if missing != nil && slices.ContainsFunc(holders, func(h string) bool { return !known.named[h] }) {
			return refuse()
		}
		all, err := c.balancesOf(ctx, token, holders)
		if err != nil {
			return err
		}
		for i, holder := range holders {
			if missing != nil && !comparison.Repeats(token, holder, all[i]) {
				return refuse()
			}
		}
		if err := conflict(comparison, token, holders, all); err != nil {
			return err
		}
	}
	return nil
}

// fromServer starts the ledger from the balances that the server has of the pairs of its
// files, just before the first row of each token. With snapshots these are all pairs of
// the tokens.
func (c *continuing) fromServer(ctx context.Context, snapshots bool) error {
	type asked struct {
		token   string
		holders []string
		all     [][]transfers.Balance
	}
	var tokens []asked
	overlap := false
	for token, holders := range c.ledger.Pairs() {
		if snapshots {
			all, err := c.openHoldersOf(ctx, token)
			if err != nil {
				return err
			}
			holders = append(holders, all...)
			slices.Sort(holders)
			holders = slices.Compact(holders)
		}
		all, err := c.balancesOf(ctx, token, holders)
		if err != nil {
			return err
		}
		tokens = append(tokens, asked{token, holders, all})
		for i, holder := range holders {
			overlap = overlap || c.ledger.Overlap(all[i])
			before := c.ledger.Covering(all[i])
			if len(before) > 1 {
				return usage.Errorf("--append: %s of %s has %d holds at once on the server, and a balance is one: give --opening", rows.Clip(holder), rows.Clip(token), len(before))
			}
			for _, b := range before {
				if err := c.ledger.AddOpening(b); err != nil {
					return err
				}
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
	for _, t := range tokens {
		if err := conflict(comparison, t.token, t.holders, t.all); err != nil {
			return err
		}
	}
	return nil
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// conflict refuses a token whose rows contradict the balances of the server.
func conflict(comparison *transfers.Comparison, token string, holders []string, all [][]transfers.Balance) error {
	for i, holder := range holders {
		if b, is := comparison.Conflict(token, holder, all[i]); is {
			until := "on"
			if !b.Until.IsZero() {
				until = "to " + instant(b.Until)
			}
			return fmt.Errorf("%w, such as %s of %s from %s %s, which %s has there: give only rows that are later than what was imported, or all rows of that time",
				errOverlap, b.Weight, rows.Clip(token), instant(b.Since), until, rows.Clip(holder))
		}
	}
	return nil
}

// missing returns an open balance of one of some holders that the files do not come to,
// or nil.
func (c *continuing) missing(ctx context.Context, comparison *transfers.Comparison, token string, holders []string) (*transfers.Balance, error) {
	all, err := c.balancesOf(ctx, token, holders)
	if err != nil {
		return nil, err
	}
	for _, of := range all {
		for i := range of {
			if of[i].Until.IsZero() && !comparison.Knows(&of[i]) {
				return &of[i], nil
			}
		}
	}
	return nil, nil
}

// each calls f with every row of the scores of a token. The server answers after it has
// applied everything that was acknowledged.
func (c *continuing) each(ctx context.Context, token string, f func(row *holdpb.Score)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := c.query.Scores(ctx, &holdpb.ScoresRequest{TokenId: token, ByToken: true})
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
		f(row)
	}
}

func isOpen(row *holdpb.Score) bool {
	return row.GetScore() != row.GetSettledScore() || row.GetHeldSeconds() != row.GetSettledHeldSeconds()
}

// holdersOf returns what the server knows of the holders of a token.
func (c *continuing) holdersOf(ctx context.Context, token string, inFiles []string) (known, error) {
	k := known{named: map[string]bool{}}
	err := c.each(ctx, token, func(row *holdpb.Score) {
		if isOpen(row) && len(k.open) < askedOpen {
			k.open = append(k.open, row.GetHolderId())
		}
		if _, in := slices.BinarySearch(inFiles, row.GetHolderId()); in {
			k.named[row.GetHolderId()] = true
		}
	})
	return k, err
}

// openHoldersOf returns all holders of a token with something that is not settled.
func (c *continuing) openHoldersOf(ctx context.Context, token string) (holders []string, err error) {
	err = c.each(ctx, token, func(row *holdpb.Score) {
		if isOpen(row) {
			holders = append(holders, row.GetHolderId())
		}
	})
	return holders, err
}

// balancesOf returns the holds without hold_id of each of some holders of a token.
func (c *continuing) balancesOf(ctx context.Context, token string, holders []string) ([][]transfers.Balance, error) {
	all := make([][]transfers.Balance, len(holders))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i, holder := range holders {
		group.Go(func() (err error) {
			all[i], err = c.balances(ctx, token, holder)
			return err
		})
	}
	return all, group.Wait()
}

func (c *continuing) balances(ctx context.Context, token, holder string) (all []transfers.Balance, err error) {
	stream, err := c.query.Explain(ctx, &holdpb.ExplainRequest{HolderId: holder, TokenId: token})
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
		b := transfers.Balance{Token: token, Holder: holder, Weight: h.GetWeight(), Since: h.GetStart().AsTime()}
		if h.GetEnd() != nil {
			b.Until = h.GetEnd().AsTime()
		}
		all = append(all, b)
	}
}
