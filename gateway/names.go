package gateway

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// end is the last position that a partition is to apply: that of its own messages,
// or of the whole log where the rules normalise holders and their events may lie in
// any partition then; see [ingest.CaseKeepsPartition].
func (b *backend) end(ctx context.Context, partition int) (uint64, error) {
	if b.wholeLog() {
		return b.s.cfg.Log.LastPosition(ctx)
	}
	return b.s.cfg.Log.End(ctx, partition)
}

// wholeLog says whether every partition is to apply the whole log.
func (b *backend) wholeLog() bool {
	return b.Rules.NormalisesHolders() && !ingest.CaseKeepsPartition(b.s.cfg.Log.Partitions())
}

// named is a query with its ids as the rules of the generation have them, and the
// rules that it is answered by.
func (q scoreQuery) named(rules hold.Rules) scoreQuery {
	q.rules, q.holder, q.token = rules, rules.Holder(q.holder), rules.Token(q.token)
	return q
}

// named is a query with its holders as the rules have them, each once. It must not
// change what q refers to.
func (q *statsQuery) named(rules hold.Rules) *statsQuery {
	if !rules.NormalisesHolders() || len(q.holders) == 0 {
		return q
	}
	own := *q
	own.holders = distinctHolders(q.holders, rules)
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
