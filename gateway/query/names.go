package query

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// end is the last position that a partition is to apply: that of its own messages,
// or of the whole log where the rules normalise holders and their events may lie in
// any partition then; see [ingest.CaseKeepsPartition].
func (b *Generation) end(ctx context.Context, partition int) (uint64, error) {
	if b.wholeLog() {
		return b.S.cfg.Log.LastPosition(ctx)
	}
	return b.S.cfg.Log.End(ctx, partition)
}

// wholeLog reports whether every partition is to apply the whole log.
func (b *Generation) wholeLog() bool {
	return b.Rules.NormalisesHolders() && !ingest.CaseKeepsPartition(b.S.cfg.Log.Partitions())
}

// named is a query with its ids as the rules of the generation have them, and the
// rules that it is answered by.
func (q ScoreQuery) named(rules hold.Rules) ScoreQuery {
	q.rules, q.Holder, q.Token = rules, rules.Holder(q.Holder), rules.Token(q.Token)
	return q
}

// Named is a query with its holders as the rules have them, each once. It must not
// change what q refers to.
func (q *StatsQuery) Named(rules hold.Rules) *StatsQuery {
	if !rules.NormalisesHolders() || len(q.Holders) == 0 {
		return q
	}
	own := *q
	own.Holders = distinctHolders(q.Holders, rules)
	return &own
}

func distinctHolders(holders []string, rules hold.Rules) []string {
	seen := make(map[string]bool, len(holders))
	distinct := make([]string, 0, len(holders))
	for _, h := range holders {
		if h = rules.Holder(h); !seen[h] {
			seen[h] = true
			distinct = append(distinct, h)
		}
	}
	return distinct
}
