package query

import (
	"errors"
	"fmt"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// What can be wrong with what a read asks for, beside hold.ErrTime. Each comes
// in a hold.FieldError, which names the field.
var (
	ErrFromAfterTo = errors.New("is after the end of the window")
	ErrTwice       = errors.New("means the same as as_of; give one of them")
	ErrRange       = errors.New("is out of range")
	ErrCursor      = errors.New("is not a cursor of this query")
	ErrChoice      = errors.New("is not one of the choices")
	ErrTogether    = errors.New("does not go with the other fields")
	ErrCostly      = errors.New("asks for more than one read may cost")
	ErrSealed      = errors.New("is before the horizon up to which the log was sealed")
)

// ErrProjected means that a time is in the future, which a read has to allow.
var ErrProjected = errors.New("is in the future: ask for projected figures (projected=true, or --projected) to assume that open holds stay open")

// Window is the time that a read is about: the figures as of an instant, or what
// they gained since another one (S1.9). It is about when something was held, not about
// when that became known (S1.10).
type Window struct {
	At      int64  // the instant, unix nanoseconds; the time of the request where none was asked for
	field   string // that asked for it; "as_of" where none did
	asOf    bool   // at was asked for, or from was
	From    int64  // of a window
	HasFrom bool
	// Projected: a time that was asked for is in the future.
	Projected bool
}

// Times are the times of a request as they came.
type Times struct {
	AsOf, From, To hold.Stamp
	Now            bool // as of the time of the request, as if AsOf were that
	Projected      bool // allows times in the future
}

// Window checks the times of a request. It is the rule of both APIs.
func (s *Service) Window(in Times) (w Window, err error) {
	now := s.Now()
	w.At, w.field = now, "as_of"
	switch {
	case in.AsOf.Set && in.To.Set:
		return w, &hold.FieldError{Field: "to", Err: ErrTwice}
	case in.Now && (in.AsOf.Set || in.To.Set):
		return w, &hold.FieldError{Field: "as_of_now", Err: ErrTogether, Detail: "as_of and to name another time"}
	}
	w.asOf = in.Now
	for _, t := range []struct {
		field string
		stamp hold.Stamp
	}{{"as_of", in.AsOf}, {"to", in.To}} {
		if t.stamp.Set {
			if w.At, err = checkInstant(t.field, t.stamp); err != nil {
				return w, err
			}
			if err = w.checkFuture(t.field, w.At, now, in.Projected); err != nil {
				return w, err
			}
			w.field, w.asOf = t.field, true
		}
	}
	if in.From.Set {
		w.HasFrom, w.asOf = true, true
		if w.From, err = checkInstant("from", in.From); err != nil {
			return w, err
		}
		if err = w.checkFuture("from", w.From, now, in.Projected); err != nil {
			return w, err
		}
		if w.From > w.At {
			return w, &hold.FieldError{Field: "from", Err: ErrFromAfterTo}
		}
	}
	// Early, so that it is also refused where there is no holder. The log may be sealed
	// before the answer is made, or have been so by another process just now: what
	// decides is the view that answers.
	return w, w.checkHorizon(s.horizon())
}

// horizon is the latest horizon that the log knows: before it nothing can be read any
// more; 0: there is none.
func (s *Service) horizon() int64 { return s.cfg.Log.Horizon() }

// Sealed reports whether the log is known to be sealed up to some instant.
func (s *Service) Sealed() bool { return s.horizon() != 0 }

// horizonOf is the same of a view.
func horizonOf(view projection.PartitionView) int64 {
	c, _ := view.Checkpoint()
	return c.Horizon
}

// checkHorizon refuses instants as of which figures are not kept any more.
func (w *Window) checkHorizon(horizon int64) error {
	refuse := func(field string) error {
		return &hold.FieldError{Field: field, Err: ErrSealed, Detail: "the earliest is " + TimeOf(horizon).Format(time.RFC3339Nano)}
	}
	switch {
	case w.At < horizon:
		return refuse(w.field)
	case w.HasFrom && w.From < horizon:
		return refuse("from")
	}
	return nil
}

// checkFuture refuses an instant that is later than now, unless it may be projected.
func (w *Window) checkFuture(field string, at, now int64, projected bool) error {
	if at <= now {
		return nil
	}
	if !projected {
		return &hold.FieldError{Field: field, Err: ErrProjected}
	}
	w.Projected = true
	return nil
}

// checkInstant is the time in unix nanoseconds. The epoch is one: as of it,
// every figure is 0.
func checkInstant(field string, t hold.Stamp) (int64, error) {
	if t.Nanos < 0 || t.Nanos >= 1e9 || t.Seconds < 0 || t.Seconds > hold.MaxTime/1e9 {
		return 0, &hold.FieldError{Field: field, Err: hold.ErrTime}
	}
	ns := t.Seconds*1e9 + int64(t.Nanos)
	if ns > hold.MaxTime {
		return 0, &hold.FieldError{Field: field, Err: hold.ErrTime}
	}
	return ns, nil
}

// of returns the figures of a pair in the window, by a rule. The settled score may be
// negative: where a hold that ended in the window has a run begin earlier, what was
// settled before may count less by a boost that falls. A window has no rate.
func (w *Window) of(r *hold.Rule, p *hold.Pair) (f pairFigures) {
	if w.HasFrom {
		f.live, f.settled = r.LiveAt(p, w.At), r.SettledAt(p, w.At)
		f.live, f.settled = f.live.Sub(r.LiveAt(p, w.From)), f.settled.Sub(r.SettledAt(p, w.From))
		return f
	}
	all := r.Figures(p, w.At)
	f.live, f.rate = all.Line.Base, all.Line.Rate
	f.settled = r.SettledAt(p, w.At)
	f.weight = weightOf(r, p, &all.Line)
	return f
}

// RangeDetail returns the detail of an ErrRange error: the values that are allowed.
func RangeDetail(least, most uint64) string { return fmt.Sprintf("it is %d to %d", least, most) }
