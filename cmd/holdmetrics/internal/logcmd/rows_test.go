package logcmd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/ingest"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "abcde": "abcde", "abcdef": "abcd…", "äöüßé": "äöüßé", "äöüßéx": "äöüß…"} {
		if got := printing.Cut(text, 5); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
}

// Dead letters come in the order of the log, and not in that in which they were written.
func TestDeadLettersInBlocks(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	given := func(yield func(ingest.DeadLetter, error) bool) {
		for _, at := range [][2]int{{5, 0}, {4, 1}, {4, 0}, {10, 0}, {2, 0}} {
			if !yield(ingest.DeadLetter{Partition: 12, Sequence: uint64(at[0]), Index: at[1]}, nil) {
				return
			}
		}
		yield(ingest.DeadLetter{}, gone)
	}
	for _, c := range []struct {
		most int
		sort bool
		want string
	}{
		{100, true, "12.2.0 12.4.0 12.4.1 12.5.0 12.10.0 gone"},
		{3, true, "12.4.0 12.4.1 12.5.0 12.2.0 12.10.0 gone"},
		{100, false, "12.5.0 12.4.1 12.4.0 12.10.0 12.2.0 gone"},
	} {
		var got []string
		for d, err := range inBlocks(given, c.most, c.sort) {
			if err != nil {
				got = append(got, err.Error())
			} else {
				got = append(got, d.ID())
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%d %v: %s, want %s", c.most, c.sort, got, c.want)
		}
	}
	for range inBlocks(given, 2, true) {
		break
	}
}

// Who follows the log reads rows that stand under the header, though they come one by one.
func TestFollowedRowsStandUnderTheHeader(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := newLogWriter(&out, "table", true)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("h", 100)
	for i, d := range []draftText{{token: "GOLD", holder: "a", kind: "hold", weight: "1"}, {token: "GOLD", holder: long, kind: "hold", weight: "2"}, {token: "GOLD", holder: "b", kind: "hold", weight: "3"}} {
		if err := w.writeRow(&ingest.Message{Position: uint64(i + 1), Time: 1e18}, 0, d, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(out.String(), "\n")
	at := strings.Index(lines[0], "holder_id")
	if len(lines) != 5 || at < 0 || !strings.HasPrefix(lines[1][at:], "a ") || !strings.HasPrefix(lines[2][at:], strings.Repeat("h", printing.ShownID-1)+"…  hold") || !strings.HasPrefix(lines[3][at:], "b ") {
		t.Errorf("\n%s", &out)
	}
	// What was wider than its column is the measure from then on.
	if kind := strings.Index(lines[3], "hold"); kind != strings.Index(strings.Replace(lines[2], "…", ".", 1), "hold") {
		t.Errorf("\n%s", &out)
	}
}

func TestJSONNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		columns, fields []string
		want            string
	}{
		{[]string{"kind", "count"}, []string{"future", "12"}, `{"kind":"future","count":12}`},
		{[]string{"partition", "messages", "events", "refused", "bytes", "first", "last"}, []string{"0", "1", "2", "3", "4", "5", "6"}, `{"partition":0,"messages":1,"events":2,"refused":3,"bytes":4,"first":5,"last":6}`},
		{[]string{"position", "holder_id", "refused"}, []string{"1", "2", "3"}, `{"position":1,"holder_id":"2","refused":"3"}`},
	} {
		if got, err := printing.JSONRow(c.columns, c.fields); err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
	}
}
