package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tableLines() []line {
	return []line{
		{name: "log ingest", value: 1_700_000, unit: "events/s", against: "one by one", againstValue: 6000, aim: aim{ratioAtLeast(100)}, fsync: true},
		{name: "lag", value: 1500, unit: "ms", aim: aim{atMost(1000)}, note: "for 60s"},
		{name: "p50", value: 0.25, unit: "ms", against: "put", againstValue: 0.5},
	}
}

func TestPrintTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := printTable(&out, tableLines()); err != nil {
		t.Fatal(err)
	}
	want := `row         value               against, same run  value           ratio  aim          met  fsync
log ingest  1,700,000 events/s  one by one         6,000 events/s  283    >= 100x      yes  on
lag         1,500 ms            -                  -               -      <= 1,000 ms  no   off
p50         0.25 ms             put                0.5 ms          0.5    -            -    off
lag: for 60s
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncodeJSON(t *testing.T) {
	t.Parallel()
	text, err := encodeJSON(tableLines())
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"row": "log ingest", "value": 1.7e6, "unit": "events/s", "against": "one by one", "against_value": 6000.0, "ratio": 1.7e6 / 6000, "aim": ">= 100x", "met": true, "fsync": true},
		{"row": "lag", "value": 1500.0, "unit": "ms", "against": "", "against_value": nil, "ratio": nil, "aim": "<= 1,000 ms", "met": false, "fsync": false, "note": "for 60s"},
		{"row": "p50", "value": 0.25, "unit": "ms", "against": "put", "against_value": 0.5, "ratio": 0.5, "aim": "", "met": true, "fsync": false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if empty, err := encodeJSON(nil); err != nil || strings.TrimSpace(string(empty)) != "[]" {
		t.Errorf("no lines are %q, %v", empty, err)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 0.12345: "0.123", 9.876: "9.88", 99.99: "100", 100: "100", 999.6: "1,000", 1234567.8: "1,234,568", -1234: "-1,234", 123456: "123,456",
	} {
		if got := number(x); got != want {
			t.Errorf("number(%v) is %q, want %q", x, got, want)
		}
	}
}

// A line that was skipped says why, has no values, and meets nothing.
func TestSkippedLine(t *testing.T) {
	t.Parallel()
	lines := []line{{name: "flush", unit: "documents/s", against: "bulk", aim: aim{ratioAtLeast(0.9)}, skipped: "there is no Java"}}
	var out bytes.Buffer
	if err := printTable(&out, lines); err != nil {
		t.Fatal(err)
	}
	want := `row    value    against, same run  value  ratio  aim      met  fsync
flush  skipped  bulk               -      -      >= 0.9x  -    off
flush: there is no Java
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := encodeJSON(lines)
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
