package extjson

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]Value{
		`{"$oid":"60edb8e85f1b2c0012345678"}`:                  {Text: "60edb8e85f1b2c0012345678"},
		`{"$uuid":"8a2b6c1e-0000-4000-8000-000000000001"}`:     {Text: "8a2b6c1e-0000-4000-8000-000000000001"},
		`{ "$numberLong" : "9007199254740993" }`:               {Text: "9007199254740993", Number: true},
		`{"$numberInt":"-5"}`:                                  {Text: "-5", Number: true},
		`{"$numberDouble":"2.5"}`:                              {Text: "2.5", Number: true},
		`{"$numberDouble":"NaN"}`:                              {Text: "NaN", Number: true},
		`{"$numberDecimal":"1.5E+3"}`:                          {Text: "1.5E+3", Number: true},
		`{"$numberLong":7}`:                                    {Text: "7", Number: true},
		`{"$date":"2021-07-13T23:30:32Z"}`:                     {Text: "2021-07-13T23:30:32Z"},
		`{"$date":"2021-07-13T23:30:32.5Z"}`:                   {Text: "2021-07-13T23:30:32.5Z"},
		`{"$date":{"$numberLong":"1626219032123"}}`:            {Text: "2021-07-13T23:30:32.123Z"},
		`{"$date":1626219032000}`:                              {Text: "2021-07-13T23:30:32Z"},
		`{"$date":{"$numberLong":"-500"}}`:                     {Text: "1969-12-31T23:59:59.5Z"},
		`{"$binary":{"base64":"AAECAwQFBgc=","subType":"04"}}`: {Text: "AAECAwQFBgc="},
	} {
		if got, ok := Parse([]byte(object)); !ok || got != want {
			t.Errorf("%s is %+v, %v, want %+v", object, got, ok, want)
		}
	}
	for _, object := range []string{
		`{}`, `{"a":1}`, `{"$date":true}`, `{"$date":null}`, `{"$date":1.5}`, `{"$date":{"$numberLong":"x"}}`, `{"$date":{"$numberInt":"1"}}`,
		`{"$date":[]}`, `{"$oid":5}`, `{"$numberLong":null}`, `{"$timestamp":{"t":1,"i":1}}`, `{"$oid":"a","b":1}`, `{"$binary":"AA==","$type":"00"}`, `{"$minKey":1}`,
	} {
		if got, ok := Parse([]byte(object)); ok {
			t.Errorf("%s is taken for %+v", object, got)
		}
	}
}
