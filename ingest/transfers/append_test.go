package transfers

import (
	"errors"
	"slices"
	"testing"
	"time"

	"holdmetrics/ingest/rows"
)

// TestAddOpening goes on from balances of two tokens, of which one is further than the
// other: each takes its own later rows, and none that its balances already hold.
func TestAddOpening(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		row  string
		want error
	}{
		{"A,zero,ann,1,400", nil},
		{"B,ann,ben,5,200", nil},
		{"B,ann,ben,5,100", ErrOpening},
		{"A,zero,ann,1,200", ErrOpening},
		{"A,zero,ann,1,300", ErrOpening},
	} {
		l, err := New(Options{Columns: DefaultColumns()})
		if err != nil {
			t.Fatal(err)
		}
		name := file(t, "a.csv", "A,zero,ann,1,500", "B,zero,ann,1,500", tt.row)
		if err := l.Load(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for _, b := range []Balance{{Token: "A", Holder: "ann", Weight: "7", Since: time.Unix(300, 0)}, {Token: "B", Holder: "ann", Weight: "9", Since: time.Unix(100, 0)}} {
			if err := l.AddOpening(b); err != nil {
				t.Fatal(err)
			}
		}
		var last error
		for _, err := range l.Events(t.Context(), name) {
			last = err
		}
		var at *rows.Error
		if !errors.Is(last, tt.want) || tt.want != nil && (!errors.As(last, &at) || at.Place.Line != 4) {
			t.Errorf("%s: %v, want %v", tt.row, last, tt.want)
		}
	}
}

// TestCompare holds what a server has against the files that state it, a part of it, more
// than it, and something else.
func TestCompare(t *testing.T) {
	t.Parallel()
	hold := func(weight string, since, until int64) Balance {
		b := Balance{Token: "A", Holder: "ann", Weight: weight, Since: time.Unix(since, 0)}
		if until > 0 {
			b.Until = time.Unix(until, 0)
		}
		return b
	}
	server := []Balance{hold("5", 100, 200), hold("7", 200, 300), hold("4", 300, 0)}
	for name, tt := range map[string]struct {
		opening  []Balance
		rows     []string
		repeats  bool
		conflict int64 // since when; 0: none
		overlap  bool
	}{
		"all":                  {nil, []string{"A,zero,ann,5,100", "A,zero,ann,2,200", "A,ann,zero,3,300"}, true, 0, true},
		"the first day":        {nil, []string{"A,zero,ann,5,100", "A,zero,ann,2,200"}, true, 0, true},
		"the second day":       {server[:1], []string{"A,zero,ann,2,200"}, true, 0, true},
		"the last day":         {server[1:2], []string{"A,ann,zero,3,300"}, true, 0, true},
		"more":                 {nil, []string{"A,zero,ann,5,100", "A,zero,ann,2,200", "A,ann,zero,3,300", "A,ann,zero,1,400"}, false, 0, true},
		"the last day and one": {server[1:2], []string{"A,ann,zero,3,300", "A,ann,zero,1,400"}, false, 0, true},
		"tomorrow":             {server[2:], []string{"A,ann,zero,1,400"}, false, 0, false},
		"a row between":        {server[:1], []string{"A,zero,ann,1,150"}, false, 100, true},
		"another row then":     {server[:1], []string{"A,zero,ann,1,200"}, false, 200, true},
		"from nothing":         {nil, []string{"A,zero,ann,2,200"}, false, 200, true},
		"another holder":       {nil, []string{"A,zero,ben,2,50"}, true, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := New(Options{Columns: DefaultColumns()})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Load(t.Context(), file(t, "a.csv", tt.rows...)); err != nil {
				t.Fatal(err)
			}
			covering := l.Covering(server)
			if len(covering) > 1 || len(tt.opening) == 1 && !slices.Equal(covering, tt.opening) {
				t.Errorf("covering: %v", covering)
			}
			for _, b := range tt.opening {
				if err := l.AddOpening(b); err != nil {
					t.Fatal(err)
				}
			}
			c, err := l.Compare(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Repeats("A", "ann", server); got != tt.repeats {
				t.Errorf("repeats: %v", got)
			}
			b, is := c.Conflict("A", "ann", server)
			if is != (tt.conflict > 0) || is && b.Since.Unix() != tt.conflict {
				t.Errorf("conflict: %v, %v", b, is)
			}
			if got := l.Overlap(server); got != tt.overlap {
				t.Errorf("overlap: %v", got)
			}
		})
	}
}
