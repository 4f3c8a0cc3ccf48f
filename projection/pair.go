package projection

import (
	"bytes"
	"fmt"
	"slices"

	"holdmetrics/processor/hold"
)

// Open is the pair of the record, from its pages or from its facts. The pair
// keeps nothing of the record that a later record could overwrite.
func (r *PairRecord) Open() (*hold.Pair, error) {
	if len(r.Pages) == 0 {
		return hold.PairFromFacts(r.Policy, slices.Values(r.Facts)), nil
	}
	p, err := hold.OpenPair(r.Policy, r.Pages)
	if err != nil {
		return nil, fmt.Errorf("%w: pair of holder %q and token %q: %w; restore the store from a backup, or let it be made again from the log",
			ErrCorrupt, r.Key.Holder, r.Key.Token, err)
	}
	return p, nil
}

// Clone is a copy that outlives the callback.
func (r *PairRecord) Clone() *PairRecord {
	c := *r
	c.Facts = slices.Clone(r.Facts)
	c.Pages = slices.Clone(r.Pages)
	for i := range c.Pages {
		c.Pages[i].Key = bytes.Clone(c.Pages[i].Key)
		c.Pages[i].Data = bytes.Clone(c.Pages[i].Data)
	}
	return &c
}
