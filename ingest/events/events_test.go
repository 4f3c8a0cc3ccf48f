package events

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) ([]rows.Event, error) {
	t.Helper()
	var got []rows.Event
	for e, err := range new(Reader).Events(t.Context(), path) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

func TestBothFormsSayTheSame(t *testing.T) {
	t.Parallel()
	at := func(s int64, n int32) hold.Stamp { return hold.Stamp{Seconds: s, Nanos: n, Set: true} }
	want := []hold.Draft{
		{Token: "T", Holder: "a", Start: at(10, 0), Weight: 2.5, WeightGiven: true},
		{Token: "T", Holder: "a", End: at(20, 500_000_000)},
		{Token: "T", Holder: "b", Start: at(1611072272, 0), WeightGiven: true, HoldID: "h", Revision: 3},
		{Token: "T", Holder: "b", Start: at(10, 0), WeightExact: "12345678901234567890.5", Retract: true},
	}
	for name, text := range map[string]string{
		"csv": "holder_id,token_id,weight,start,end,hold_id,revision,retract,weight_exact\n" +
			"a,T,2.5,10,,,,,\n" +
			"a,T,,,20.5,,,,\n" +
			"b,T,0,2021-01-19T16:04:32Z,,h,3,false,\n" +
			"b,T,,10,,,,true,12345678901234567890.5\n",
		"ndjson": `{"token_id":"T","holder_id":"a","start":10,"weight":2.5}` + "\n" +
			`{"token_id":"T","holder_id":"a","end":20.5}` + "\n" +
			`{"token_id":"T","holder_id":"b","start":"2021-01-19T16:04:32Z","weight":0,"hold_id":"h","revision":3}` + "\n" +
			`{"token_id":"T","holder_id":"b","start":10,"weight_exact":"12345678901234567890.5","retract":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, write(t, text))
			if err != nil {
				t.Fatal(err)
			}
			drafts := make([]hold.Draft, len(got))
			for i := range got {
				drafts[i] = got[i].Draft
			}
			if diff := cmp.Diff(want, drafts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadRowsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"unknown column", "token_id,holder_id,amount\n", `:1: the header does not fit: unknown column "amount"`},
		{"missing column", "token_id,start\n", `:1: the header does not fit: no column "holder_id"`},
		{"empty file", "", ":1: the header does not fit: the file is empty"},
		{"time", "token_id,holder_id,start\nT,a,1\nT,a,yesterday\n", ":3: start is not a time"},
		{"weight", "token_id,holder_id,start,weight\nT,a,1,heavy\n", ":2: weight is not a weight"},
		{"json", `{"token_id":"T"}` + "\n\n" + `{"token_id":`, ":3: "},
		{"json field", `{"token":"T"}`, ":1: token "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.text)
			_, err := read(t, path)
			var at *rows.Error
			if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), path+tt.want) {
				t.Errorf("got %v, want %s%s", err, path, tt.want)
			}
		})
	}
}

func TestBadRowsArePassedOver(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"csv":    "token_id,holder_id,start\nT,a,1\nT,a,soon\nT,a\nT,a,2\n",
		"ndjson": `{"token_id":"T","holder_id":"a","start":1}` + "\n{}}\n" + `{"token":"T"}` + "\n" + `{"token_id":"T","holder_id":"a","start":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, text)
			var bad []rows.Place
			r := Reader{Bad: func(err *rows.Error) { bad = append(bad, err.Place) }}
			var good []int64
			for e, err := range r.Events(t.Context(), path) {
				if err != nil {
					t.Fatal(err)
				}
				good = append(good, e.Draft.Start.Seconds)
			}
			first := 3
			if name == "ndjson" {
				first = 2
			}
			if diff := cmp.Diff([]rows.Place{{File: path, Line: first}, {File: path, Line: first + 1}}, bad); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]int64{1, 2}, good); diff != "" || r.Rows() != 4 {
				t.Errorf("%d rows %s", r.Rows(), diff)
			}
		})
	}
}

func TestARowThatCannotBeSplitEndsTheReading(t *testing.T) {
	t.Parallel()
	path := write(t, "token_id,holder_id,start\nT,a,1\nT,\"a,2\nT,a,3\n")
	r := Reader{Bad: func(err *rows.Error) { t.Errorf("passed over: %v", err) }}
	n := 0
	for _, err := range r.Events(t.Context(), path) {
		if err == nil {
			n++
		} else if !strings.HasPrefix(err.Error(), path+":3: ") {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d events before the row", n)
	}
}

func TestErrorsShowLittleOfAFile(t *testing.T) {
	t.Parallel()
	path := write(t, "token_id,holder_id,"+strings.Repeat("x", 10_000)+"\n")
	if _, err := read(t, path); err == nil || len(err.Error()) > len(path)+300 {
		t.Errorf("%d bytes: %.400v", len(err.Error()), err)
	}
}

func TestWeightsBeyondADoubleAreCounted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                       true,
		"0":                                      true,
		"1":                                      true,
		"0.1":                                    true,
		"1e3":                                    true,
		"-0.0":                                   true,
		"2.50":                                   true,
		"123456789012345678":                     false,
		"12345678901234567890.5":                 false,
		"0.1234567890123456789":                  false,
		"9007199254740993":                       false,
		"9007199254740992":                       true,
		"0.30000000000000004":                    true,
		"10000000000000000000000000000000000000": true,
		"1.00000000000000000000000000000000001":  false,
	} {
		if got := isDouble(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	const long = "12345678901234567890.5"
	for name, text := range map[string]string{
		"csv": "token_id,holder_id,start,weight,weight_exact\nT,a,1,1,\nT,a,1," + long + ",\nT,a,1," + long + "," + long + "\nT,a,1," + long + ",\n",
		"ndjson": `{"token_id":"weight","holder_id":"\"weight\":` + long + `","start":1}` + "\n" +
			`{"token_id":"weight","holder_id":"a","start":1, "weight" : ` + long + `}` + "\n" +
			`{"token_id":"T","holder_id":"a","start":1,"weight":` + long + `,"weight_exact":"1"}` + "\n" +
			`{"weight":` + long + `,"token_id":"T","holder_id":"a","start":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, text)
			var r Reader
			for _, err := range r.Events(t.Context(), path) {
				if err != nil {
					t.Fatal(err)
				}
			}
			first := 3
			if name == "ndjson" {
				first = 2
			}
			n, place := r.Inexact()
			if n != 2 || place != (rows.Place{File: path, Line: first}) {
				t.Errorf("%d, first at %s", n, place)
			}
		})
	}
}
