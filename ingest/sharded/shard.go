package sharded

import (
	"math/bits"

	"holdmetrics/hold"
)

// shard is the pairs of some holders.
type shard struct {
	set   *Set
	names names
	first []uint32          // by holder: 1 + its first pair
	more  map[uint64]uint32 // of token and holder: 1 + the pair, if it is not the first
	pairs []pair
	sums  []hold.Integral // by pair; without rows
	lots  []lot           // by pair; if there are moves
	rows  rowStore
}

// pair names a pair.
type pair struct{ token, holder uint32 }

// lot is the balance of a pair that transfers change.
type lot struct {
	at     int64     // of the last move; 0: it is settled
	next   [4]uint64 // the balance after the moves of that time, in two's complement
	since  int64     // since when the balance is what it is
	weight hold.Weight
}

// apply applies what the batch has for the shard.
func (s *shard) apply(l *list) error {
	for i := range l.items {
		it := &l.items[i]
		holder, err := s.names.meant(s.set.seed, it.hash, l.ids[it.id:it.id+uint32(it.idLen)], s.set.config.Holder)
		if err != nil {
			return err
		}
		if holder == nobody || s.names.skipped[holder] {
			continue
		}
		p := s.pairOf(it.token, holder)
		switch {
		case it.what&kindMask >= isIn:
			err = s.move(p, it)
		case s.set.config.KeepRows:
			s.rows.add(p, it)
		default:
			err = s.hold(p, it)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pairOf returns the index of a pair.
func (s *shard) pairOf(token, holder uint32) uint32 {
	for len(s.first) <= int(holder) {
		s.first = append(s.first, 0)
	}
	i := s.first[holder]
	switch {
	case i == 0:
		s.first[holder] = uint32(len(s.pairs)) + 1
	case s.pairs[i-1].token == token:
		return i - 1
	default:
		key := uint64(token)<<32 | uint64(holder)
		if i = s.more[key]; i != 0 {
			return i - 1
		}
		if s.more == nil {
			s.more = map[uint64]uint32{}
		}
		s.more[key] = uint32(len(s.pairs)) + 1
	}
	s.pairs = append(s.pairs, pair{token, holder})
	if !s.set.config.KeepRows {
		s.sums = append(s.sums, hold.Integral{})
	}
	return uint32(len(s.pairs)) - 1
}

// hold adds a hold to the sums of a pair.
func (s *shard) hold(p uint32, it *item) error {
	w := hold.One
	if it.what&hasWeight != 0 {
		w = hold.Weight{it.value[0], it.value[1], it.value[2]}
	}
	if it.what&kindMask != isHold || !s.add(p, it.start, it.end, &w) {
		return errFollow
	}
	return nil
}

func (s *shard) add(p uint32, start, end int64, w *hold.Weight) bool {
	return s.sums[p].Add(&s.set.config.Question, s.set.tokens[s.pairs[p].token].rule, start, end, w)
}

// move takes a move. Moves of one time are netted.
func (s *shard) move(p uint32, it *item) error {
	for len(s.lots) <= int(p) {
		s.lots = append(s.lots, lot{})
	}
	l := &s.lots[p]
	if it.start != l.at {
		if err := s.settle(p, l); err != nil {
			return err
		}
		l.at = it.start
	}
	if it.what&kindMask == isIn {
		var carry uint64
		for i := range it.value {
			l.next[i], carry = bits.Add64(l.next[i], it.value[i], carry)
		}
		l.next[3] += carry
		return nil
	}
	var borrow uint64
	for i := range it.value {
		l.next[i], borrow = bits.Sub64(l.next[i], it.value[i], borrow)
	}
	l.next[3] -= borrow
	return nil
}

// settle ends the time of the last moves of a pair.
func (s *shard) settle(p uint32, l *lot) error {
	if l.at == 0 {
		return nil
	}
	next := hold.Weight(l.next)
	if _, err := hold.WeightFromUnits(next.Units()); err != nil {
		return ErrPlain // it is too large, or below zero
	}
	if next == l.weight {
		return nil
	}
	if !l.weight.IsZero() && !s.add(p, l.since, l.at, &l.weight) {
		return ErrPlain
	}
	l.since, l.weight = l.at, next
	return nil
}

// finish ends the reading: balances that stand are open holds.
func (s *shard) finish() error {
	s.rows.group(len(s.pairs))
	for i := range s.lots {
		l := &s.lots[i]
		if err := s.settle(uint32(i), l); err != nil {
			return err
		}
		if l.at = 0; !l.weight.IsZero() && !s.add(uint32(i), l.since, 0, &l.weight) {
			return ErrPlain
		}
	}
	return nil
}

// appendPairs appends the pairs of the shard, in no order.
func (s *shard) appendPairs(list []Pair, number uint32) []Pair {
	for i := range s.pairs {
		p := &s.pairs[i]
		if !s.set.config.KeepRows && s.sums[i].Empty() {
			continue // what came went within one instant
		}
		list = append(list, Pair{Holder: s.names.texts[p.holder], Token: s.set.tokens[p.token].id, token: p.token, shard: number, pair: uint32(i)})
	}
	return list
}

func (s *shard) answer(q *hold.Question, p uint32) hold.Answer {
	r := s.set.tokens[s.pairs[p].token].rule
	if s.set.config.KeepRows {
		return r.Answer(s.rows.pair(p, r.Policy), q)
	}
	return s.sums[p].Answer(q, r)
}
