package hold_test

import (
	"errors"
	"testing"

	"holdmetrics/hold"
)

// TestCheckStrict: S6.12, for every id, at either end.
func TestCheckStrict(t *testing.T) {
	t.Parallel()
	plain := hold.Draft{Token: "gold", Holder: "ann lee", HoldID: "lot\u00a07", Start: hold.StampOf(5)}
	if err := plain.CheckStrict(); err != nil {
		t.Errorf("blanks within ids: %v", err)
	}
	for _, id := range []string{"❤\ufe0fa", "❤\ufe0f", "ann ❤\ufe0f", "\u0301a", "é"} {
		d := plain
		d.Holder = id
		if err := d.CheckStrict(); err != nil || hold.TrimID(id) != id {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, blank := range []string{" ", "\t", "\u00a0", "\u2003", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\u202c", "\u2069", "\u3164", "\ufe0f"} {
		for field, set := range map[string]func(d *hold.Draft, id string){
			"token_id":  func(d *hold.Draft, id string) { d.Token = id },
			"holder_id": func(d *hold.Draft, id string) { d.Holder = id },
			"hold_id":   func(d *hold.Draft, id string) { d.HoldID = id },
		} {
			for _, id := range []string{blank + "a", "a" + blank} {
				d := plain
				set(&d, id)
				var refused *hold.FieldError
				if err := d.CheckStrict(); !errors.As(err, &refused) || refused.Field != field || !errors.Is(err, hold.ErrSpace) {
					t.Errorf("%s %q: %v", field, id, err)
				}
				if got := hold.TrimID(id); got != "a" {
					t.Errorf("TrimID(%q) is %q", id, got)
				}
			}
		}
	}
}

func TestTrimIDKeepsEmoji(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		" ❤\ufe0f\u200b ": "❤\ufe0f", "❤\ufe0f\ufe0f": "❤\ufe0f", "❤ \ufe0f": "❤", "\ufe0f": "", "\ufe0f❤": "❤", "ä\ufe0f": "ä",
	} {
		if got := hold.TrimID(id); got != want {
			t.Errorf("TrimID(%+q) is %+q, want %+q", id, got, want)
		}
	}
}

// TestCheckStopWeight: S6.13.
func TestCheckStopWeight(t *testing.T) {
	t.Parallel()
	two := hold.Weight{2_000_000_000_000_000_000}
	weighed := func(e hold.Event) hold.Event {
		e.Weight, e.HasWeight = two, true
		return e
	}
	for _, c := range []struct {
		name    string
		event   hold.Event
		ends    *hold.Weight
		refused bool
	}{
		{"a stop without weight", hold.Event{End: 9}, nil, false},
		{"a stop with a weight", weighed(hold.Event{End: 9}), nil, true},
		{"a stop with another weight", weighed(hold.Event{End: 9}), &hold.One, true},
		{"a stop with the weight of its hold", weighed(hold.Event{End: 9}), &two, false},
		{"the retract of a stop with a weight", weighed(hold.Event{End: 9, Retract: true}), nil, true},
		{"an ended hold", weighed(hold.Event{Start: 5, End: 9}), nil, false},
		{"an open hold", weighed(hold.Event{Start: 5}), nil, false},
	} {
		err := c.event.CheckStopWeight(c.ends)
		if got := errors.Is(err, hold.ErrStopWeight); got != c.refused || !got && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
