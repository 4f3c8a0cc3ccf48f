package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"holdmetrics/hold"
)

// Open returns the pair of the record, from its pages or from its facts. The pair does
// not refer to the record, except to More: a large pair reads its pages from More while
// it is used. In a view's callback that is until the callback returns. After reading
// from the pair, check [hold.Pair.Err] or call [PairRecord.Check].
func (r *PairRecord) Open() (*hold.Pair, error) {
	if len(r.Pages) == 0 {
		sealed, err := hold.ReadSealedFacts(r.Sealed)
		if err != nil {
			return nil, PairError(r.Key, err)
		}
		return sealed.Pair(r.Policy, slices.Values(r.Facts)), nil
	}
	p, err := hold.OpenPair(r.Policy, r.Pages, r.More)
	if err != nil {
		return nil, PairError(r.Key, err)
	}
	return p, nil
}

// IsLarge reports whether the only page of the record is the root of a large pair.
func (r *PairRecord) IsLarge() bool {
	return len(r.Pages) == 1 && len(r.Pages[0].Key) == 0 && hold.IsRoot(r.Pages[0].Data)
}

// Check returns an error if a page that the opened pair needed could not be read or was
// damaged, or nil. After an error, no answer of the pair is valid.
func (r *PairRecord) Check(p *hold.Pair) error { return PairError(r.Key, p.Err()) }

// PairError says of which pair an error is, where the pair is damaged, and what
// an operator can do. Other errors stay as they are.
func PairError(key PairKey, err error) error {
	if !errors.Is(err, hold.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: pair of holder %q and token %q: %w; restore the store from a backup, or let it be made again from the log",
		ErrCorrupt, key.Holder, key.Token, err)
}

// PagesOf reads pages of a pair from a store as they are now, until ctx ends.
func PagesOf(ctx context.Context, from PageReader, partition int, key PairKey) hold.Pages {
	return &pagesOf{ctx, from, partition, key}
}

type pagesOf struct {
	ctx       context.Context
	from      PageReader
	partition int
	key       PairKey
}

func (p *pagesOf) Page(key []byte) ([]byte, error) {
	return p.from.Page(p.ctx, p.partition, p.key, key)
}

func (p *pagesOf) Scan(prefix []byte, yield func(hold.Page) bool) error {
	return p.from.Pages(p.ctx, p.partition, p.key, prefix, yield)
}

// Clone is a copy that outlives the callback, but for More.
func (r *PairRecord) Clone() *PairRecord {
	c := *r
	c.Facts = slices.Clone(r.Facts)
	c.Sealed = bytes.Clone(r.Sealed)
	c.Pages = slices.Clone(r.Pages)
	for i := range c.Pages {
		c.Pages[i].Key = bytes.Clone(c.Pages[i].Key)
		c.Pages[i].Data = bytes.Clone(c.Pages[i].Data)
	}
	return &c
}
