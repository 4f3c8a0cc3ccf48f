package mongo

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// loading is a pair on its way out of the database.
type loading struct {
	record projection.PairRecord
	facts  []projection.LoggedFact
	found  bool // the pair is there at the checkpoint
	lost   bool // it may be there, but the version of its figures that counts is gone
	whole  bool // facts has all of them

	sealed   hold.SealedFacts // what record.Sealed says
	sealedAt uint64           // position of that
	since    int64            // no event of it is later
	beyond   int64            // the earliest position behind the checkpoint at which something was sealed; 0: none
	cut      bool             // facts of that were taken out of the document
}

// last is where the pair's last event may stand at the latest, and when it came.
func (l *loading) last() (position uint64, logTime int64) {
	position, logTime = lastOf(l.facts)
	return max(position, l.sealedAt), max(logTime, l.since)
}

// parsePair reads a pair's document.
func (n *snapshot) parsePair(id string, raw bson.Raw) (*loading, error) {
	d := fields{raw: raw}
	key, err := pairKeyOf(id)
	if err != nil {
		return nil, corrupt(pairsName, id, err)
	}
	policy, err := hold.ParsePolicy(d.string("policy"))
	if err != nil && d.err == nil {
		d.err = err
	}
	r := d.resolve(n.at, false)
	l := &loading{
		record: projection.PairRecord{Key: key, Policy: policy, Figures: r.figures},
		found:  r.found, lost: r.lost,
	}
	if l.found || l.lost {
		l.facts, l.whole = d.carriedFacts(nil, n.at.position)
		d.sealedOf(l, n.at.position)
	}
	if d.err != nil {
		return nil, corrupt(pairsName, id, d.err)
	}
	return l, nil
}

// complete gives pairs their facts, and folds a pair again if its figures are lost.
func (n *snapshot) complete(ctx context.Context, pairs ...*loading) error {
	var keys []projection.PairKey
	for _, l := range pairs {
		if (l.found || l.lost) && !l.whole {
			keys = append(keys, l.record.Key)
		}
	}
	facts, err := n.store.readFacts(ctx, n.partition, keys, n.at.position)
	if err != nil {
		return err
	}
	if err := n.standing(ctx, pairs); err != nil {
		return err
	}
	for _, l := range pairs {
		if !l.found && !l.lost {
			continue
		}
		if !l.whole {
			l.facts, l.whole = facts[l.record.Key], true
		}
		l.record.Facts = bare(l.facts)
		if l.lost && (len(l.facts) > 0 || l.record.Sealed != nil) {
			l.found, l.lost = true, false
			_, logTime := l.last()
			l.record.Figures = n.fold(l).figures(logTime)
		}
	}
	return nil
}

// folded is a pair made of its facts, and the rule by which it counts.
type folded struct {
	pair *hold.Pair
	rule *hold.Rule
}

func (f *folded) figures(at int64) hold.Figures { return f.rule.Figures(f.pair, at) }

func (n *snapshot) fold(l *loading) *folded {
	return &folded{
		pair: l.sealed.Pair(l.record.Policy, slices.Values(l.record.Facts)),
		rule: n.store.config.Rules.Of(l.record.Key.Token),
	}
}

// holder reads one holder.
func (n *snapshot) holder(ctx context.Context, holder string) (*projection.HolderRecord, error) {
	records, err := n.holders(ctx, []string{holder})
	if err != nil {
		return nil, err
	}
	if records[0] == nil {
		return nil, projection.ErrNotFound
	}
	return records[0], nil
}

// holders reads holders in the order given, nil if there is none.
func (n *snapshot) holders(ctx context.Context, holders []string) ([]*projection.HolderRecord, error) {
	ids := make([]string, len(holders))
	for i, h := range holders {
		ids[i] = holderID(n.prefix, h)
	}
	byID := map[string]*projection.HolderRecord{}
	err := n.lookUp(ctx, statsName, ids, func(id string, raw bson.Raw) error {
		h, err := n.parseHolder(ctx, id, raw)
		byID[id] = h
		return err
	})
	if err != nil {
		return nil, err
	}
	records := make([]*projection.HolderRecord, len(holders))
	for i, id := range ids {
		if h := byID[id]; h != nil {
			own := *h // the same holder may be asked for twice
			records[i] = &own
		}
	}
	return records, nil
}

// parseHolder reads a holder's document; nil where it is not there at the checkpoint.
func (n *snapshot) parseHolder(ctx context.Context, id string, raw bson.Raw) (*projection.HolderRecord, error) {
	holder, err := holderOf(id)
	if err != nil {
		return nil, corrupt(statsName, id, err)
	}
	d := fields{raw: raw}
	r := d.resolve(n.at, true)
	if d.err != nil {
		return nil, corrupt(statsName, id, d.err)
	}
	if r.lost {
		return n.foldHolder(ctx, holder)
	}
	if !r.found {
		return nil, nil
	}
	return &projection.HolderRecord{Holder: holder, Figures: r.figures, UpdatedAt: r.updated, Position: uint64(r.position)}, nil
}

// foldHolder recomputes a holder's record from the facts of its pairs.
func (n *snapshot) foldHolder(ctx context.Context, holder string) (*projection.HolderRecord, error) {
	h := &projection.HolderRecord{Holder: holder}
	var pairs []*folded
	id := holderID(n.prefix, holder)
	err := n.pairs(ctx, id+separator, id+afterPrefix, 0, func(l *loading) error {
		position, logTime := l.last()
		h.Position, h.UpdatedAt = max(h.Position, position), max(h.UpdatedAt, logTime)
		pairs = append(pairs, n.fold(l))
		return nil
	})
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	h.Figures = pairs[0].figures(h.UpdatedAt)
	for _, p := range pairs[1:] {
		h.Figures = h.Figures.Plus(p.figures(h.UpdatedAt))
	}
	return h, nil
}
