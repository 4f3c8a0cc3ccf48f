package watch

import (
	"context"
	"maps"
	"slices"

	"holdmetrics/gateway/query"
	"holdmetrics/projection"
)

// cross takes a watch from the generation that was left to the one that is active.
// Every snapshot names its generation, so each holder of the new one is sent, once;
// gone is sent for those that the client may have and the new one has not. It is a
// round like others, with no mark at its end.
func (s *watchState) cross(ctx context.Context) (sent int, err error) {
	s.h.busy(1)
	defer s.h.busy(-1)
	s.depart()
	gone := map[string]bool{}
	seen := s.base // of the view of s.line
	for {
		for ; s.line.Over(); seen, s.line = s.line.Point, s.line.Next {
			for _, c := range s.line.Lost {
				if !c.Gone || c.Number > seen { // else the client saw that it went
					gone[c.Key] = true
				}
			}
		}
		if s.b = s.h.reads.Pin(); s.b.Lineage == s.line {
			break
		}
		s.depart() // the next switch is under way
		select {
		case <-s.line.Left:
		case <-s.h.over:
			return 0, query.ErrDraining
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	former, known := s.keys, s.sent
	if err := s.join(); err != nil {
		return 0, err
	}
	point := s.b.Snapshots.Last()
	if s.ofAll() {
		sent, err = s.crossAll(ctx, gone, seen, point)
	} else {
		sent, err = s.crossSome(&former, known)
	}
	if err != nil {
		return sent, err
	}
	s.base, s.settled = point, point
	return sent, s.sink.EndRound(s.b, s.point())
}

// crossAll sends what the generation has, and what it lacks: of gone, and of what
// went between two points of it.
func (s *watchState) crossAll(ctx context.Context, gone map[string]bool, since, point uint64) (sent int, err error) {
	var changes []projection.Change
	for next := uint64(0); ; since = next {
		changes, next = s.b.Snapshots.AppendChanges(changes[:0], since, recentMost)
		if next == since {
			break
		}
		for i := range changes {
			if changes[i].Gone && changes[i].Number <= point {
				gone[changes[i].Key] = true
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(gone)) {
		if _, has := s.b.Snapshots.Lookup(key); has {
			continue
		}
		if _, err := s.tell(&projection.Change{Key: key, Gone: true}); err != nil {
			return sent, err
		}
		sent++
	}
	all, err := s.pass(ctx)
	return sent + all, err
}

// crossSome is the same for a watch of some holders, which knows what it has sent of
// former keys, maybe others than it has now.
func (s *watchState) crossSome(former *nameList, known []uint64) (sent int, err error) {
	s.sent = nil
	var names []string // of former keys, of which something was sent
	for i, number := range known {
		if number > 0 {
			names = append(names, former.at(i))
		}
	}
	if len(names) > 0 {
		now := make(map[string]bool, s.keys.len())
		for i := range s.keys.len() {
			now[s.keys.at(i)] = true
		}
		slices.Sort(names)
		for _, key := range names {
			if _, has := s.b.Snapshots.Lookup(key); has && now[key] {
				continue
			}
			if _, err := s.tell(&projection.Change{Key: key, Gone: true}); err != nil {
				return sent, err
			}
			sent++
		}
	}
	for i := range s.keys.len() {
		c, has := s.b.Snapshots.Lookup(s.keys.at(i))
		if !has {
			continue
		}
		number, err := s.tell(&c)
		if err != nil {
			return sent, err
		}
		s.setSent(i, number)
		sent++
	}
	return sent, nil
}

// depart lets go of the generation, so that it need not be kept for a watcher that
// has nothing to ask of it any more.
func (s *watchState) depart() {
	if s.b != nil {
		s.b.Unpin()
		s.b = nil
	}
}
