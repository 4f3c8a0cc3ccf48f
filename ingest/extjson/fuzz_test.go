package extjson

import (
	"encoding/json"
	"testing"
)

// FuzzParse reads any valid object. A number that it stands for may be read by others.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"$date":"2021-07-13T23:30:32Z"}`, `{"$date":{"$numberLong":"-1"}}`, `{"$oid":"5f"}`, `{"$numberDecimal":"1E+3"}`, `{"$binary":{"base64":"AA==","subType":"04"}}`, `{}`, `{"a":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		if len(object) == 0 || object[0] != '{' || !json.Valid(object) {
			return
		}
		Parse(object)
	})
}
