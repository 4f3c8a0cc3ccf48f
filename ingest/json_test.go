package ingest

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"holdmetrics/hold"
)

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	at := func(s int64, ns int32) hold.Stamp { return hold.Stamp{Seconds: s, Nanos: ns, Set: true} }
	for text, want := range map[string]hold.Draft{
		`{}`:        {},
		" {\t}\r\n": {},
		`{"token_id":"t","holder_id":"a","hold_id":"h"}`:                                                  {Token: "t", Holder: "a", HoldID: "h"},
		`{ "holder_id" : "a\"\\\/\b\f\n\r\t\u00e9\ud83e\ude99z" }`:                                        {Holder: "a\"\\/\b\f\n\r\té🪙z"},
		`{"holder_\u0069d":"é"}`:                                                                          {Holder: "é"},
		`{"token_id":null,"start":null,"weight":null,"weight_exact":null,"revision":null,"retract":null}`: {},
		`{"token_id":"","start":"","end":"","weight_exact":"","revision":"","retract":""}`:                {},
		`{"weight":""}`:                                   {},
		`{"start":"2021-07-13T23:30:32Z"}`:                {Start: at(1626219032, 0)},
		`{"start":"2021-07-14T01:30:32.123456789+02:00"}`: {Start: at(1626219032, 123456789)},
		`{"start":"1969-12-31T23:59:59.5Z"}`:              {Start: at(-1, 5e8)},
		`{"start":1626219032,"end":1626219032.5}`:         {Start: at(1626219032, 0), End: at(1626219032, 5e8)},
		`{"start":"1626219032.000000001"}`:                {Start: at(1626219032, 1)},
		`{"start":9007199254740993.999999999}`:            {Start: at(9007199254740993, 999999999)},
		`{"start":0,"end":"0"}`:                           {Start: at(0, 0), End: at(0, 0)},
		`{"start":-0.25,"end":-1}`:                        {Start: at(-1, 75e7), End: at(-1, 0)},
		`{"weight":0}`:                                    {WeightGiven: true},
		`{"weight":-0.0}`:                                 {WeightGiven: true},
		`{"weight":1.5e3}`:                                {Weight: 1500, WeightGiven: true},
		`{"weight":-2}`:                                   {Weight: -2, WeightGiven: true},
		`{"weight_exact":"12.50"}`:                        {WeightExact: "12.50"},
		`{"weight_exact":1234567890123456789012345.10}`:   {WeightExact: "1234567890123456789012345.10"},
		`{"revision":18446744073709551615}`:               {Revision: math.MaxUint64},
		`{"revision":"18446744073709551615"}`:             {Revision: math.MaxUint64},
		`{"retract":true}`:                                {Retract: true},
		`{"retract":"true","revision":0}`:                 {Retract: true},
		`{"retract":"false"}`:                             {},
	} {
		d := hold.Draft{Token: "left over", Retract: true}
		if err := DecodeJSON([]byte(text), &d); err != nil || d != want {
			t.Errorf("%s is\n%+v, %v, want\n%+v", text, d, err, want)
		}
	}
}

func TestDecodeJSONRefusesFields(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]hold.FieldError{
		`{"colour":1}`:                              {Field: "colour", Err: ErrUnknownField},
		`{"Token_id":"t"}`:                          {Field: "Token_id", Err: ErrUnknownField},
		`{"token_id":"a","token_id":"a"}`:           {Field: "token_id", Err: ErrRepeatedField},
		`{"token_id":null,"token_\u0069d":"a"}`:     {Field: "token_id", Err: ErrRepeatedField},
		`{"token_id":1}`:                            {Field: "token_id", Err: ErrFieldType},
		`{"holder_id":{"a":1}}`:                     {Field: "holder_id", Err: ErrFieldType},
		`{"hold_id":["a"]}`:                         {Field: "hold_id", Err: ErrFieldType},
		`{"weight":"1"}`:                            {Field: "weight", Err: ErrFieldType},
		`{"weight":true}`:                           {Field: "weight", Err: ErrFieldType},
		`{"retract":1}`:                             {Field: "retract", Err: ErrFieldType},
		`{"start":true}`:                            {Field: "start", Err: ErrFieldType},
		`{"weight":1e999}`:                          {Field: "weight", Err: hold.ErrWeight},
		`{"weight":-1e999}`:                         {Field: "weight", Err: hold.ErrWeight},
		`{"start":1.0000000001}`:                    {Field: "start", Err: hold.ErrTime},
		`{"end":"2021-07-13T23:30:32.0000000000Z"}`: {Field: "end", Err: hold.ErrTime},
		`{"start":"2021-07-13T23:30:32,5Z"}`:        {Field: "start", Err: hold.ErrTime},
		`{"start":"2021-07-13 23:30:32"}`:           {Field: "start", Err: hold.ErrTime},
		`{"start":"2021-02-30T00:00:00Z"}`:          {Field: "start", Err: hold.ErrTime},
		`{"start":"2021-07-13T23:30:32+25:00"}`:     {Field: "start", Err: hold.ErrTime},
		`{"start":"2021-07-13T23:30:32"}`:           {Field: "start", Err: hold.ErrTime},
		`{"start":1e9}`:                             {Field: "start", Err: hold.ErrTime},
		`{"start":"1."}`:                            {Field: "start", Err: hold.ErrTime},
		`{"start":"+1"}`:                            {Field: "start", Err: hold.ErrTime},
		`{"start":"-"}`:                             {Field: "start", Err: hold.ErrTime},
		`{"start":"soon"}`:                          {Field: "start", Err: hold.ErrTime},
		`{"start":99999999999999999999}`:            {Field: "start", Err: hold.ErrTime},
		`{"revision":-1}`:                           {Field: "revision", Err: ErrRevision},
		`{"revision":1.0}`:                          {Field: "revision", Err: ErrRevision},
		`{"revision":"18446744073709551616"}`:       {Field: "revision", Err: ErrRevision},
		`{"retract":"yes"}`:                         {Field: "retract", Err: ErrBool},
	} {
		var d hold.Draft
		err := DecodeJSON([]byte(text), &d)
		var got *hold.FieldError
		if !errors.As(err, &got) || got.Field != want.Field || got.Err != want.Err {
			t.Errorf("%s: error %v, want %s %v", text, err, want.Field, want.Err)
		}
	}
}

func TestDecodeJSONRefusesTexts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, ` `, `null`, `[]`, `"a"`, `1`, `{`, `{"`, `{"a`, `{"token_id"`, `{"token_id":`, `{"token_id":"a"`, `{"token_id":"a",`,
		`{"token_id":"a",}`, `{,}`, `{token_id:"a"}`, `{'token_id':'a'}`, `{} {}`, `{}x`, "{}\x00", `{"token_id":"a"}}`,
		`{"token_id" "a"}`, `{"token_id":"a" "holder_id":"b"}`, `{"revision":01}`, `{"revision":+1}`, `{"revision":1.}`, `{"revision":.5}`,
		`{"weight":1e}`, `{"weight":-}`, `{"weight":NaN}`, `{"weight":Infinity}`, `{"weight":0x10}`, `{"weight":1_0}`,
		`{"retract":tru}`, `{"retract":truex}`, `{"token_id":nul}`, `{"token_id":"a\q"}`, `{"token_id":"a\u12"}`, `{"token_id":"a\u+123"}`,
		`{"token_id":"\ud800"}`, `{"token_id":"\udc00"}`, `{"token_id":"\ud800\u0041"}`, "{\"token_id\":\"a\nb\"}", "{\"token_id\":\"\\n\nb\"}",
		"{\"token_id\":\"\xff\"}", "{\"token_id\":\"\\n\xff\"}", "\ufeff{}", `{"token_id":"a\`,
	} {
		var d hold.Draft
		if err := DecodeJSON([]byte(text), &d); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: error %v, want ErrMalformed", text, err)
		}
	}
}

func TestParseTimeAndOthersTakeNothing(t *testing.T) {
	t.Parallel()
	s, err := ParseTime("")
	r, err2 := ParseRevision("")
	b, err3 := ParseBool("")
	_, given, err4 := ParseWeight("")
	if s.Set || r != 0 || b || given || errors.Join(err, err2, err3, err4) != nil {
		t.Errorf("%v %v %v %v, %v", s, r, b, given, errors.Join(err, err2, err3, err4))
	}
	for _, err := range []error{second(ParseTime("x")), second(ParseRevision("x")), second(ParseBool("x"))} {
		f := (*hold.FieldError)(nil)
		if err = InField("f", err); !errors.As(err, &f) || f.Field != "f" || f.Detail == "" || strings.Count(err.Error(), f.Err.Error()) != 1 {
			t.Errorf("%v", err)
		}
	}
	if InField("f", nil) != nil {
		t.Error("InField makes an error of none")
	}
}

func second[T any](_ T, err error) error { return err }

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{
		"application/json": true, "Application/JSON; charset=utf-8": true, " application/json ;x": true,
		"": false, "application/x-protobuf": false, "application/jsonl": false,
	} {
		if got := IsJSON(nats.Header{"Content-Type": {kind}}); got != want {
			t.Errorf("%q: %v", kind, got)
		}
	}
	if IsJSON(nil) {
		t.Error("no headers are JSON")
	}
}

// FuzzDecodeJSON compares with encoding/json where both can judge.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"token_id":"t","holder_id":"a\u00e9\ud83e\ude99","start":"2021-07-13T23:30:32Z","end":1626219032.5,"weight":1.5e3,"weight_exact":"2","hold_id":"h","revision":7,"retract":true}`,
		`{"start":-0.25}`, `{"weight":0}`, `{"token_id":"\ud800"}`, `{"a":[1,{"b":null}]}`, `{} {}`, "{\"token_id\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d hold.Draft
		err := DecodeJSON(b, &d)
		var field *hold.FieldError
		switch {
		case errors.As(err, &field):
			if field.Err == nil {
				t.Errorf("%q: %+v", b, field)
			}
			return
		case err != nil:
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: %v", b, err)
			}
			var m map[string]any
			if utf8.Valid(b) && m == nil && json.Unmarshal(b, &m) == nil && m != nil && !strings.Contains(strings.ToLower(string(b)), `\ud`) {
				t.Errorf("%q is an object, and we say %v", b, err)
			}
			return
		}
		var m struct {
			Token  *string `json:"token_id"`
			Holder *string `json:"holder_id"`
			HoldID *string `json:"hold_id"`
			Weight any     `json:"weight"`
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%q: we take it, encoding/json says %v", b, err)
		}
		str := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		if d.Token != str(m.Token) || d.Holder != str(m.Holder) || d.HoldID != str(m.HoldID) {
			t.Errorf("%q: we read %+v, encoding/json %+v", b, d, m)
		}
		if w, ok := m.Weight.(float64); ok != d.WeightGiven || w != d.Weight {
			t.Errorf("%q: weight %v (%v), encoding/json %v", b, d.Weight, d.WeightGiven, m.Weight)
		}
	})
}

// FuzzParseTime checks that what is read is what was written.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"0", "-0.5", "1626219032.000000001", "2021-07-13T23:30:32.5+02:00", "1.", "9223372036854775807.9", "-9223372036854775807.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, err := ParseTime(s)
		if err != nil {
			if !errors.Is(err, hold.ErrTime) || st.Set {
				t.Errorf("%q: %+v, %v", s, st, err)
			}
			return
		}
		if st.Set != (s != "") || st.Nanos < 0 || st.Nanos > 999_999_999 {
			t.Errorf("%q: %+v", s, st)
		}
	})
}
