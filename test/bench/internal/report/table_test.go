package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tableLines() []Line {
	return []Line{
		{Name: "log ingest", Value: 1_700_000, Unit: "events/s", Against: "one by one", AgainstValue: 6000, Aim: Aim{RatioAtLeast(100)}, Fsync: true, Peak: 300 << 20},
		{Name: "lag", Value: 1500, Unit: "ms", Aim: Aim{AtMost(1000)}, Note: "for 60s"},
		{Name: "p50", Value: 0.25, Unit: "ms", Against: "put", AgainstValue: 0.5},
	}
}

func TestPrintTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := Print(&out, tableLines()); err != nil {
		t.Fatal(err)
	}
	want := `row         value               against, same run  value           ratio  aim          met  fsync  peak
log ingest  1,700,000 events/s  one by one         6,000 events/s  283    >= 100x      yes  on     300 MB
lag         1,500 ms            -                  -               -      <= 1,000 ms  no   off    -
p50         0.25 ms             put                0.5 ms          0.5    -            -    off    -
lag: for 60s
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	text, err := JSON(tableLines())
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"row": "log ingest", "value": 1.7e6, "unit": "events/s", "against": "one by one", "against_value": 6000.0, "ratio": 1.7e6 / 6000, "aim": ">= 100x", "met": true, "fsync": true, "peak_memory": float64(300 << 20)},
		{"row": "lag", "value": 1500.0, "unit": "ms", "against": "", "against_value": nil, "ratio": nil, "aim": "<= 1,000 ms", "met": false, "fsync": false, "note": "for 60s"},
		{"row": "p50", "value": 0.25, "unit": "ms", "against": "put", "against_value": 0.5, "ratio": 0.5, "aim": "", "met": true, "fsync": false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if empty, err := JSON(nil); err != nil || strings.TrimSpace(string(empty)) != "[]" {
		t.Errorf("no lines are %q, %v", empty, err)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 0.12345: "0.123", 9.876: "9.88", 99.99: "100", 100: "100", 999.6: "1,000", 1234567.8: "1,234,568", -1234: "-1,234", 123456: "123,456",
	} {
		if got := Number(x); got != want {
			t.Errorf("number(%v) is %q, want %q", x, got, want)
		}
	}
}

// A line that was skipped says why, has no values, and meets nothing.
func TestSkippedLine(t *testing.T) {
	t.Parallel()
	lines := []Line{{Name: "flush", Unit: "documents/s", Against: "bulk", Aim: Aim{RatioAtLeast(0.9)}, Skipped: "there is no Java"}}
	var out bytes.Buffer
	if err := Print(&out, lines); err != nil {
		t.Fatal(err)
	}
	want := `row    value    against, same run  value  ratio  aim      met  fsync  peak
flush  skipped  bulk               -      -      >= 0.9x  -    off    -
flush: there is no Java
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := JSON(lines)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if g := got[0]; g["skipped"] != "there is no Java" || g["against_value"] != nil || g["ratio"] != nil || g["met"] != false {
		t.Error(g)
	}
}
