package processor

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// pairPages reads the pages of a large pair that is in memory in part, when
// something that is done to the pair asks for one. So the store is read in the
// middle of an Add, which waits as long as the store takes, as a load does.
//
// A page is only asked for where the store has the pair's last word on it: what
// changed since the last flush was written stays in memory (see cache.shrink).
type pairPages struct {
	p    *partition
	from projection.PageReader
	key  projection.PairKey
}

// pagesOf lets a pair read its pages; nil where the store cannot read single ones.
func (p *partition) pagesOf(key projection.PairKey) hold.Pages {
	if from, ok := p.store.(projection.PageReader); ok {
		return &pairPages{p, from, key}
	}
	return nil
}

// Page reads one page.
func (l *pairPages) Page(key []byte) (data []byte, err error) {
	err = l.p.retry(l.p.background, "read a page of a pair", func(ctx context.Context) (err error) {
		data, err = l.from.Page(ctx, l.p.id, l.key, key)
		return err
	})
	return data, err
}

// Scan walks pages. Nothing that the worker does to a pair needs it.
func (l *pairPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	return l.from.Pages(l.p.background, l.p.id, l.key, prefix, yield)
}

// Lost is told that the pair cannot go on. Then the partition cannot either: what
// the pair had not flushed is gone, and comes back only by way of the log.
func (l *pairPages) Lost(err error) {
	if l.p.lost == nil {
		l.p.lost = fail(l.p, "a pair in memory", projection.PairError(l.key, err))
	}
}
