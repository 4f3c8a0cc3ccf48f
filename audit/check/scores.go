package check

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"holdmetrics/audit/replay"
	"holdmetrics/hold"
)

// Holder is what a store or a bucket has of a holder.
type Holder struct {
	ID        string
	Figures   hold.Figures
	Position  uint64 // of the last event that they are of
	UpdatedAt int64
	Pairs     map[string]hold.Figures // by token; nil: they are not known
	Fault     string                  // what does not fit within the store itself; empty: nothing
}

// UnknownWaiting is the number of waiting facts of a holder whose number is not known.
const UnknownWaiting = math.MaxUint64

// Scores are holders of a store or a bucket.
type Scores struct {
	Name string // what has them
	// Through is how far each partition is: holders whose last event is up to here must be
	// there. Nil: that is not known.
	Through []uint64
	// Each calls f with each holder.
	Each func(ctx context.Context, f func(*Holder) error) error
}

// scoreCheck compares holders with the replay, each when the replay has come to its
// position.
type scoreCheck struct {
	c        *checker
	scores   Scores
	waiting  map[uint64][]*Holder // by position
	known    map[string]bool
	compared int
	found    bool // a difference was reported
}

func newScoreCheck(ctx context.Context, s Scores, c *checker) (*scoreCheck, error) {
	k := &scoreCheck{c: c, scores: s, waiting: map[uint64][]*Holder{}, known: map[string]bool{}}
	err := s.Each(ctx, func(h *Holder) error {
		if c.Holder != "" && h.ID != c.holder {
			return nil
		}
		k.known[h.ID] = true
		k.waiting[h.Position] = append(k.waiting[h.Position], h)
		return nil
	})
	return k, err
}

func (k *scoreCheck) report(h *Holder, format string, args ...any) {
	if !k.found {
		k.found = true
		k.c.report(Difference{Position: h.Position, Holder: h.ID, Reason: k.scores.Name + ": " + fmt.Sprintf(format, args...)})
	}
}

// at compares the holders of a position.
func (k *scoreCheck) at(position uint64) {
	for _, h := range k.waiting[position] {
		k.compared++
		k.compare(h)
	}
	delete(k.waiting, position)
}

func (k *scoreCheck) compare(h *Holder) {
	if h.Fault != "" {
		k.report(h, "%s", h.Fault)
		return
	}
	own := k.c.replay.Holder(h.ID)
	if own == nil {
		k.report(h, "added: the log has no event of this holder up to there")
		return
	}
	if own.Position != h.Position || own.UpdatedAt != h.UpdatedAt {
		k.report(h, "its last event is of position %d", own.Position)
		return
	}
	if what := differs(own, &h.Figures); what != "" {
		k.report(h, "the score does not follow from the events: %s", what)
		return
	}
	if h.Pairs == nil {
		return
	}
	for _, token := range slices.Sorted(maps.Keys(own.Pairs)) {
		f, ok := h.Pairs[token]
		if !ok {
			k.report(h, "token %q is missing", token)
			return
		}
		if own := own.Pairs[token].Figures(); own != f {
			k.report(h, "token %q: the holds or figures do not follow from the events: the settled score is %s, and it should be %s", token, f.Settled.Score, own.Settled.Score)
			return
		}
	}
	if len(h.Pairs) > len(own.Pairs) {
		k.report(h, "added: it has %d tokens, and the log gives it %d", len(h.Pairs), len(own.Pairs))
	}
}

// differs says in which figure a holder differs from what the log gives; empty: in none.
// A line may have been drawn again since the last event, so both are compared at the time
// where the given one begins.
func differs(own *replay.Holder, f *hold.Figures) string {
	want := own.FiguresAt(f.Line.Since)
	if f.Line.Until != 0 && f.Line.Since >= f.Line.Until {
		want.Line = f.Line // the sum of lines that hold nowhere together, which nobody reads
	}
	switch {
	case f.Settled.Score != want.Settled.Score:
		return fmt.Sprintf("the settled score is %s, and it should be %s", f.Settled.Score, want.Settled.Score)
	case f.Settled.Held != want.Settled.Held:
		return fmt.Sprintf("the settled held time is %s, and it should be %s", f.Settled.Held, want.Settled.Held)
	case f.Line.Base.Score != want.Line.Base.Score:
		return fmt.Sprintf("the live score is %s, and it should be %s", f.Line.Base.Score, want.Line.Base.Score)
	case f.Line.Base.Held != want.Line.Base.Held:
		return fmt.Sprintf("the live held time is %s, and it should be %s", f.Line.Base.Held, want.Line.Base.Held)
	case f.Line.Rate != want.Line.Rate || f.Line.HeldRate != want.Line.HeldRate:
		return fmt.Sprintf("the rate is %s, and it should be %s", f.Line.Rate, want.Line.Rate)
	case f.Waiting != want.Waiting && f.Waiting != UnknownWaiting:
		return fmt.Sprintf("%d facts wait, and it should be %d", f.Waiting, want.Waiting)
	}
	return ""
}

// end looks for holders that should be there, and for ones behind the end of the log.
func (k *scoreCheck) end(context.Context) error {
	for _, position := range slices.Sorted(maps.Keys(k.waiting)) {
		for _, h := range k.waiting[position] {
			k.report(h, "its last event is behind the end of the log, or no event")
		}
	}
	if k.scores.Through == nil {
		return nil
	}
	for p, through := range k.scores.Through {
		for _, id := range k.c.replay.Holders(p) {
			own := k.c.replay.Holder(id)
			if !k.known[id] && own.Position <= through && (k.c.Holder == "" || id == k.c.holder) {
				k.report(&Holder{ID: id, Position: own.Position}, "missing: the log has events of this holder")
			}
		}
	}
	return nil
}
