package events

import (
	"os"
	"path/filepath"
	"testing"

	"holdmetrics/ingest/rows"
)

// FuzzEvents reads any bytes as a file of events. Reading ends, and each event names a
// row of the file.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		"token_id,holder_id,start,end,weight\nGOLD,alice,1,2,3\n", "{\"token_id\":\"GOLD\",\"holder_id\":\"a\",\"start\":1}\n", "[{\"token_id\":1}]",
		"token_id,holder_id,start\nGOLD,'=x,2026-01-01\n", "{\"_id\":{\"$oid\":\"0\"},\"token_id\":\"a\"}\n", "PAR1PAR1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := &Reader{Lenient: true, Bad: func(*rows.Error) {}}
		count := 0
		for _, err := range r.Events(t.Context(), path) {
			if err != nil {
				return
			}
			if count++; count > len(data)+1 {
				t.Fatalf("%d events of %d bytes", count, len(data))
			}
		}
	})
}
