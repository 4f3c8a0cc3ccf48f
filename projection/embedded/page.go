package embedded

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Page reads one page of a pair as last flushed; nil if there is none.
func (s *Store) Page(ctx context.Context, partition int, pair projection.PairKey, page []byte) ([]byte, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.readPage(s.db, appendPairKey(nil, partition, pair.Holder, pair.Token), page)
}

// readPage reads a page of the pair of that key, to whose memory it may append.
func (s *Store) readPage(from pebble.Reader, pair, page []byte) ([]byte, error) {
	if len(page) > 0 {
		pair = appendPageKey(pair, page)
	}
	value, closer, err := from.Get(pair)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.readError(err)
	}
	defer closer.Close()
	if len(page) == 0 {
		record, err := parsePair(value)
		return bytes.Clone(record.root), err
	}
	data, err := parseTagged(value, "a page")
	return bytes.Clone(data), err
}

// Pages walks the pages of a pair whose keys begin with prefix.
func (s *Store) Pages(ctx context.Context, partition int, pair projection.PairKey, prefix []byte, fn func(hold.Page) bool) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	return s.scanPages(ctx, s.db, appendPairKey(nil, partition, pair.Holder, pair.Token), prefix, fn)
}

// scanPages walks pages of the pair of that key. Those that begin with prefix are
// together, and begin at prefix itself but for page keys that go on with a zero
// byte, which those of hold_ids do not.
func (s *Store) scanPages(ctx context.Context, from pebble.Reader, pair, prefix []byte, fn func(hold.Page) bool) error {
	within := append(bytes.Clone(pair), prefix...)
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: pair, UpperBound: afterPrefix(bytes.Clone(pair))})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	n := 0
	// A page's key has its length behind it, which a longer one that goes on with zeros
	// may come before.
	first := append(bytes.Clone(prefix), make([]byte, 32)...)
	for ok := it.SeekGE(appendPageKey(bytes.Clone(pair), first)); ok && bytes.HasPrefix(it.Key(), within); ok = it.Next() {
		if n++; n%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		data, err := parseTagged(it.Value(), "a page")
		if err != nil {
			return err
		}
		key := it.Key()[len(pair):]
		if len(key) <= pageKeyTail {
			return corrupt("the key of a page", errKey)
		}
		if !fn(hold.Page{Key: key[:len(key)-pageKeyTail], Data: data}) {
			return nil
		}
	}
	return s.readError(it.Error())
}

// viewPages reads pages of the pair that a view's walk is at.
type viewPages struct {
	ctx  context.Context
	view *view
	pair []byte // its key
	key  []byte // that of a page; scratch
}

func (p *viewPages) Page(page []byte) ([]byte, error) {
	if err := p.view.usable(p.ctx); err != nil {
		return nil, err
	}
	p.key = append(p.key[:0], p.pair...)
	return p.view.store.readPage(p.view.snapshot, p.key, page)
}

func (p *viewPages) Scan(prefix []byte, yield func(hold.Page) bool) error {
	if err := p.view.usable(p.ctx); err != nil {
		return err
	}
	return p.view.store.scanPages(p.ctx, p.view.snapshot, p.pair, prefix, yield)
}
