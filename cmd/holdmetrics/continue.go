package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/transfers"
	holdpb "holdmetrics/proto"
)

// errContinue means that an import would begin from nothing where the server has
// balances.
var errContinue = errors.New("the server has open balances that these files do not know")

const (
	// askedRows is how many holders of a token are looked at.
	askedRows = 100_000
	// askedHolders is how many of them are asked for their open holds.
	askedHolders = 100
)

// checkContinues refuses files that begin from nothing of tokens of which the server
// has open balances, unless the files come to these balances themselves, as when they
// are imported again.
func checkContinues(ctx context.Context, query holdpb.HoldMetricsQueryClient, ledger *transfers.Ledger) error {
	for _, token := range ledger.TokenNames() {
		open, err := openHolds(ctx, query, token)
		if err != nil {
			return err
		}
		if missing, ok := ledger.Missing(ctx, open); ok {
			return fmt.Errorf("%w, such as that of %s of %s since %s: continue from the balances that --closing wrote (--opening FILE), or from those of the server (--append)",
				errContinue, rows.Clip(missing.Holder), rows.Clip(missing.Token), missing.Since.UTC().Format("2006-01-02T15:04:05.999999999Z"))
		}
	}
	return nil
}

// openHolds returns open holds of a token, without hold_id, of the first of its holders
// that have something that is not settled. The server answers after it has applied
// everything that was acknowledged.
func openHolds(ctx context.Context, query holdpb.HoldMetricsQueryClient, token string) (open []transfers.Balance, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := query.Scores(ctx, &holdpb.ScoresRequest{TokenId: token, ByToken: true})
	if err != nil {
		return nil, err
	}
	var holders []string
	for range askedRows {
		row, err := stream.Recv()
		if code := status.Code(err); err == io.EOF || code == codes.NotFound || code == codes.Unimplemented {
			break // it has no more, or none, or no reads
		}
		if err != nil {
			return nil, err
		}
		if row.GetScore() != row.GetSettledScore() || row.GetHeldSeconds() != row.GetSettledHeldSeconds() {
			if holders = append(holders, row.GetHolderId()); len(holders) == askedHolders {
				break
			}
		}
	}
	for _, holder := range holders {
		of, err := openHoldsOf(ctx, query, token, holder)
		if err != nil {
			return nil, err
		}
		open = append(open, of...)
	}
	return open, nil
}

// openHoldsOf returns the open holds of a pair that have no hold_id.
func openHoldsOf(ctx context.Context, query holdpb.HoldMetricsQueryClient, token, holder string) (open []transfers.Balance, err error) {
	stream, err := query.Explain(ctx, &holdpb.ExplainRequest{HolderId: holder, TokenId: token})
	if err != nil {
		return nil, err
	}
	for {
		h, err := stream.Recv()
		if err == io.EOF || status.Code(err) == codes.NotFound {
			return open, nil
		}
		if err != nil {
			return nil, err
		}
		if h.GetEnd() == nil && h.GetStart() != nil && h.GetHoldId() == "" {
			open = append(open, transfers.Balance{Token: token, Holder: holder, Weight: h.GetWeight(), Since: h.GetStart().AsTime()})
		}
	}
}

// appendTo starts a ledger from the balances that the server has of the pairs of its
// files.
func appendTo(ctx context.Context, query holdpb.HoldMetricsQueryClient, ledger *transfers.Ledger) error {
	for token, holders := range ledger.Pairs() {
		for _, holder := range holders {
			open, err := openHoldsOf(ctx, query, token, holder)
			if err != nil {
				return err
			}
			if len(open) > 1 {
				return usage.Errorf("--append: %s of %s has %d open holds on the server, and a balance is one: give --opening", rows.Clip(holder), rows.Clip(token), len(open))
			}
			if len(open) == 1 {
				if err := ledger.AddOpening(open[0]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
