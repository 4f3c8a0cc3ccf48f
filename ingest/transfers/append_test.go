package transfers

import (
	"errors"
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
		for _, b := range []Balance{{"A", "ann", "7", time.Unix(300, 0)}, {"B", "ann", "9", time.Unix(100, 0)}} {
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
