package generation

import (
	"encoding/json"
	"testing"
)

// FuzzRecord reads any text as the record of a generation, which stands in a bucket.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"name":"1","policy":"merge","version":"none"}`))
	f.Add([]byte(`{"name":"2","rules":"tokens: []"}`))
	f.Add([]byte(`{"rules":"policy: sum\ntokens:\n  - token: GOLD\n    multiplier: 2"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Record
		if json.Unmarshal(text, &r) != nil {
			return
		}
		if rules, err := r.ParseRules(); err == nil && rules == nil {
			t.Fatal("a record without an error has no rules")
		}
		_ = r.Describe()
	})
}
