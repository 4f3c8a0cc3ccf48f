package transfers

import (
	"cmp"
	"slices"

	"holdmetrics/ingest/rows"
)

// rowHash is a row without an identity, and where it stands.
type rowHash struct {
	hash uint64
	line int32
	file uint16 // 1 + its index
}

// group is rows of one time, in their order, to find those that are equal.
type group struct {
	at   int64
	rows []rowHash
}

// equal counts the rows of which the group has an equal one before, and returns the
// first of them.
func (g *group) equal() (n int64, first rowHash) {
	if len(g.rows) < 2 {
		return 0, rowHash{}
	}
	found := func(r rowHash) {
		if n++; n == 1 {
			first = r
		}
	}
	if len(g.rows) <= 8 {
		for i, r := range g.rows {
			for _, before := range g.rows[:i] {
				if before.hash == r.hash {
					found(r)
					break
				}
			}
		}
		return n, first
	}
	seen := make(map[uint64]bool, len(g.rows))
	for _, r := range g.rows {
		if seen[r.hash] {
			found(r)
		}
		seen[r.hash] = true
	}
	return n, first
}

func (s *slotRows) reset() {
	s.first, s.last, s.equal, s.firstEqual = 0, 0, 0, rowHash{}
	for i := range s.logs {
		s.logs[i] = s.logs[i][:0]
	}
	s.head.rows, s.tail.rows, s.loose = s.head.rows[:0], s.tail.rows[:0], s.loose[:0]
}

// next begins the rows of a later time.
func (s *slotRows) next(at int64) {
	switch {
	case s.last == 0:
	case s.last == s.first:
		s.head, s.tail = s.tail, s.head
		s.head.at = s.last
	default:
		s.count(&s.tail)
	}
	s.last = at
	s.tail.at, s.tail.rows = at, s.tail.rows[:0]
}

func (s *slotRows) count(g *group) {
	if n, first := g.equal(); n > 0 {
		if s.equal == 0 {
			s.firstEqual = first
		}
		s.equal += n
	}
}

// end ends the block.
func (s *slotRows) end() {
	if s.first == s.last {
		s.head, s.tail = s.tail, s.head
		s.head.at, s.tail.rows = s.last, s.tail.rows[:0]
	}
}

// joinGroup appends rows to those of the last time, or ends that time.
func (s *scoring) joinGroup(g *group) {
	if g.at != s.group.at {
		s.endGroup()
		s.group.at = g.at
	}
	s.group.rows = append(s.group.rows, g.rows...)
}

// endGroup counts the equal rows of the last time.
func (s *scoring) endGroup() {
	s.noteEqual(s.group.equal())
	s.group.rows = s.group.rows[:0]
}

// looseRow is a row without an identity, of files whose rows come in any order.
type looseRow struct {
	at int64
	rowHash
}

// countLoose counts the equal rows of each time, of rows in any order.
func (s *scoring) countLoose() {
	slices.SortFunc(s.loose, func(a, b looseRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	var g group
	for from := 0; from < len(s.loose); {
		g.at, g.rows = s.loose[from].at, g.rows[:0]
		for ; from < len(s.loose) && s.loose[from].at == g.at; from++ {
			g.rows = append(g.rows, s.loose[from].rowHash)
		}
		s.noteEqual(g.equal())
	}
	s.loose = nil
}

func (s *scoring) noteEqual(n int64, first rowHash) {
	if n == 0 {
		return
	}
	if s.l.summary.Equal == 0 {
		s.l.summary.FirstEqual = rows.Place{File: s.l.files[first.file-1], Line: int(first.line)}
	}
	s.l.summary.Equal += n
}

// hashSet is a set of hashes in 8 bytes each, and as many again while it has room.
type hashSet struct {
	slots []uint64
	n     int
}

// add adds a hash, and reports whether it was not there.
func (s *hashSet) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	if 4*(s.n+1) > 3*len(s.slots) {
		old := s.slots
		s.slots = make([]uint64, max(64, 2*len(old)))
		for _, o := range old {
			if o != 0 {
				s.place(o)
			}
		}
	}
	if !s.place(h) {
		return false
	}
	s.n++
	return true
}

func (s *hashSet) place(h uint64) bool {
	mask := uint64(len(s.slots) - 1)
	i := h & mask
	for s.slots[i] != 0 {
		if s.slots[i] == h {
			return false
		}
		i = (i + 1) & mask
	}
	s.slots[i] = h
	return true
}
