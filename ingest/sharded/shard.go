package sharded

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"

	"holdmetrics/hold"
)

// shard is the pairs of some holders.
type shard struct {
	set   *Set
	names names
	more  map[uint64]uint32 // of token and holder: 1 + the pair, if it is not the holder's first
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

// atOnce is how many items are looked up at once. With more pairs than fit the caches,
// a look-up mostly waits for memory, and those of several items do not wait for each
// other.
const atOnce = 64

// apply applies what the batch has for the shard.
func (s *shard) apply(l *list) error {
	var of [atOnce]uint32
	for from := 0; from < len(l.items); from += atOnce {
		items := l.items[from:min(from+atOnce, len(l.items))]
		var seen uint64
		for i := range items {
			if of[i] = s.names.guess(items[i].hash); of[i] != 0 {
				seen += uint64(s.names.all[of[i]-1].meaning)
			}
		}
		for i := range items {
			it := &items[i]
			text := l.ids[it.id : it.id+uint32(it.idLen)]
			if guess := of[i]; guess != 0 && s.names.text(guess-1) == string(text) {
				of[i] = s.names.all[guess-1].meaning
				continue
			}
			var err error
			if of[i], err = s.names.meant(s.set.seed, it.hash, text, s.set.config.Holder); err != nil {
				return err
			}
		}
		for i := range items {
			if holder := of[i]; holder != nobody {
				if n := &s.names.all[holder]; n.skipped && items[i].what&kindMask < isIn {
					of[i] = nobody // of moves the balance has to be right all the same
				} else {
					of[i] = s.pairOf(n, holder, items[i].token)
					seen += s.look(of[i])
				}
			}
		}
		for i := range items {
			if of[i] == nobody {
				continue
			}
			if err := s.applyTo(of[i], &items[i]); err != nil {
				return err
			}
		}
		runtime.KeepAlive(seen) // or the looks would be compiled away
	}
	return nil
}

// look reads from a pair.
func (s *shard) look(p uint32) (seen uint64) {
	if int(p) < len(s.lots) {
		seen = uint64(s.lots[p].at)
	}
	if int(p) < len(s.sums) && s.sums[p].Empty() {
		seen++
	}
	return seen
}

func (s *shard) applyTo(p uint32, it *item) error {
	switch {
	case it.what&kindMask >= isIn && s.set.config.KeepMoves:
		it.what |= hasWeight
		s.rows.add(p, it)
		return nil
	case it.what&kindMask >= isIn:
		return s.move(p, it)
	case s.set.config.KeepRows:
		s.rows.add(p, it)
		return nil
	default:
		return s.hold(p, it)
	}
}

// pairOf returns the index of a pair.
func (s *shard) pairOf(n *spelled, holder, token uint32) uint32 {
	i := n.first
	switch {
	case i == 0:
		n.first = uint32(len(s.pairs)) + 1
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
	if s.set.config.KeepMoves {
		if err := s.moveAll(); err != nil {
			return err
		}
	}
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

// moveAll applies the moves that were kept, by pair and time.
func (s *shard) moveAll() error {
	for p := range s.pairs {
		own := s.rows.of(uint32(p))
		slices.SortFunc(own, func(a, b row) int { return cmp.Compare(a.start, b.start) })
		for i := range own {
			r := &own[i]
			w := s.rows.weightOf(r)
			if err := s.move(uint32(p), &item{start: r.start, what: r.what & kindMask, value: [3]uint64(w[:3])}); err != nil {
				return err
			}
		}
	}
	s.rows = rowStore{}
	return nil
}

// appendPairs appends the pairs of the shard, in no order.
func (s *shard) appendPairs(list []Pair, number uint32) []Pair {
	for i := range s.pairs {
		p := &s.pairs[i]
		if !s.set.config.KeepRows && s.sums[i].Empty() {
			continue // what came went within one instant
		}
		if s.names.all[p.holder].skipped {
			continue
		}
		list = append(list, Pair{Holder: s.names.text(p.holder), Token: s.set.tokens[p.token].id, token: p.token, shard: number, pair: uint32(i)})
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
