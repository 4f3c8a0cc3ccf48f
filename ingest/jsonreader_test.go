package ingest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"holdmetrics/hold"
)

func TestJSONReaderPassesOverFields(t *testing.T) {
	t.Parallel()
	want := hold.Draft{Token: "t", Holder: "a", Start: hold.Stamp{Seconds: 5, Set: true}}
	for text, skipped := range map[string][]string{
		`{"_id":1,"token_id":"t","holder_id":"a","start":5}`:                                         {"_id"},
		`{"token_id":"t","_":{"a":[1,{"b":"}]"},[],{}],"c":null},"holder_id":"a","start":5}`:         {"_"},
		`{"token_id":"t","holder_id":"a","start":5,"__v":[ [ [ ] , [1 , 2 ] ] , "\"]" ]}`:            {"__v"},
		`{"_a":{ },"_b":[ ],"_c":{"d":{"e":{}}},"token_id":"t","holder_id":"a","start":5,"_f":true}`: {"_a", "_b", "_c", "_f"},
		`{"_a":1,"_a":2,"token_id":"t","holder_id":"a","start":5}`:                                   {"_a", "_a"},
	} {
		var names []string
		r := JSONReader{Skipped: func(name string) { names = append(names, strings.Clone(name)) }}
		var d hold.Draft
		if err := r.Decode([]byte(text), &d); err != nil || d != want || !slices.Equal(names, skipped) {
			t.Errorf("%s is %+v without %q: %v", text, d, names, err)
		}
		if err := DecodeJSON([]byte(text), &d); !errors.Is(err, ErrUnknownField) {
			t.Errorf("%s in the log: %v", text, err)
		}
	}
}

func TestJSONReaderIsLenientIfAsked(t *testing.T) {
	t.Parallel()
	const text = `{"created":{"by":["x"]},"token_id":"t","holder_id":"a","start":5,"note":"n","weight":"2"}`
	var d hold.Draft
	var field *hold.FieldError
	if err := new(JSONReader).Decode([]byte(text), &d); !errors.As(err, &field) || field.Field != "created" || field.Err != ErrUnknownField {
		t.Errorf("error %v", err)
	}
	n := 0
	r := JSONReader{Lenient: true, Skipped: func(string) { n++ }}
	if err := r.Decode([]byte(text), &d); !errors.As(err, &field) || field.Field != "weight" || field.Err != ErrFieldType {
		t.Errorf("a field of an event: error %v", err)
	}
	if err := r.Decode([]byte(strings.Replace(text, `"2"`, "2", 1)), &d); err != nil || d.Weight != 2 || n != 4 {
		t.Errorf("%+v, %d: %v", d, n, err)
	}
	if err := r.Decode([]byte(`{"token_id":"t","token_id":"t"}`), &d); !errors.Is(err, ErrRepeatedField) {
		t.Errorf("error %v", err)
	}
}

// TestJSONReaderSkipsWhatIsJSON compares what is passed over with another reader of JSON.
func TestJSONReaderSkipsWhatIsJSON(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`{}`, `[]`, `[[]]`, `{"a":{}}`, `[{},[],{"a":[]}]`, `{"a":1,"b":[true,false,null,-1.5e3,"x\"y"]}`, " [ 1 , { } ] ",
		`{`, `[`, `{]`, `[}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `{1:2}`, `{"a":[}`, `[01]`, `[tru]`, `["a]`, `{"a":1}}`, `[]]`,
		`{"a" 1}`, `[1,,2]`, `{,}`, `{"a":"b` + "\n" + `"}`, `[+1]`, `[NaN]`, `{"a":1,"a":2}`,
	} {
		text := []byte(`{"_x":` + value + `,"token_id":"t"}`)
		var d hold.Draft
		err := new(JSONReader).Decode(text, &d)
		if valid := json.Valid(text); valid != (err == nil) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, and valid is %v", text, err, valid)
		}
	}
	deep := `{"_x":` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`
	var d hold.Draft
	if err := new(JSONReader).Decode([]byte(deep), &d); !errors.Is(err, ErrMalformed) {
		t.Errorf("101 deep: error %v", err)
	}
	if err := new(JSONReader).Decode([]byte(strings.Replace(strings.Replace(deep, "[", "", 1), "]", "", 1)), &d); err != nil {
		t.Errorf("100 deep: error %v", err)
	}
}

func TestJSONReaderReadsExtendedJSON(t *testing.T) {
	t.Parallel()
	at := func(s int64, ns int32) hold.Stamp { return hold.Stamp{Seconds: s, Nanos: ns, Set: true} }
	const id = "60edb8e85f1b2c0012345678"
	for name, text := range map[string]string{
		"canonical": `{"_id":{"$oid":"` + id + `"},"token_id":"t","holder_id":"a","start":{"$date":{"$numberLong":"1626219032500"}},"end":null,"weight":{"$numberDouble":"2.5"},"revision":{"$numberLong":"3"},"__v":{"$numberInt":"0"}}`,
		"relaxed":   `{"_id":{"$oid":"` + id + `"},"token_id":"t","holder_id":"a","start":{"$date":"2021-07-13T23:30:32.5Z"},"weight":2.5,"revision":3,"__v":0}`,
		"decimal":   `{"_id":{"$oid":"` + id + `"},"token_id":"t","holder_id":"a","start":{"$date":1626219032500},"weight":{"$numberDecimal":"2.50"},"revision":{"$numberInt":"3"}}`,
	} {
		r := JSONReader{Extended: true, Pick: "_id"}
		var d hold.Draft
		err := r.Decode([]byte(text), &d)
		if want := (hold.Draft{Token: "t", Holder: "a", Start: at(1626219032, 5e8), Weight: 2.5, WeightGiven: true, Revision: 3}); err != nil || d != want || r.Picked != id {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	var d hold.Draft
	for text, field := range map[string]string{
		`{"start":{"$date":"soon"}}`:              "start",
		`{"start":{"$timestamp":{"t":1,"i":1}}}`:  "start",
		`{"weight":{"$numberDouble":"Infinity"}}`: "weight",
		`{"token_id":{"$numberLong":"5"}}`:        "token_id",
		`{"_id":{"a":1},"token_id":"t"}`:          "_id",
		`{"_id":[1],"token_id":"t"}`:              "_id",
	} {
		r := JSONReader{Extended: true, Pick: "_id"}
		var at *hold.FieldError
		if err := r.Decode([]byte(text), &d); !errors.As(err, &at) || at.Field != field {
			t.Errorf("%s: error %v", text, err)
		}
	}
	if err := new(JSONReader).Decode([]byte(`{"start":{"$date":"2021-07-13T23:30:32Z"}}`), &d); !errors.Is(err, ErrFieldType) {
		t.Errorf("not asked for: error %v", err)
	}
}

func TestJSONReaderPicksAField(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"_id":"x"}`:                         "x",
		`{"_id":12}`:                          "12",
		`{"_id":"x","hold_id":"own"}`:         "x",
		`{"_id":{"$oid":"60"},"token_id":""}`: "60",
		`{"_id":null}`:                        "",
		`{}`:                                  "",
	} {
		r := JSONReader{Pick: "_id", Extended: true, Picked: "left over"}
		var d hold.Draft
		if err := r.Decode([]byte(text), &d); err != nil || r.Picked != want {
			t.Errorf("%s: picked %q, want %q: %v", text, r.Picked, want, err)
		}
	}
	r := JSONReader{Pick: "token_id"}
	var d hold.Draft
	if err := r.Decode([]byte(`{"token_id":"7"}`), &d); err != nil || r.Picked != "7" || d.Token != "7" {
		t.Errorf("%+v, %q: %v", d, r.Picked, err)
	}
}
