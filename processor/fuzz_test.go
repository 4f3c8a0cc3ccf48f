package processor

import (
	"encoding/json"
	"testing"
)

// FuzzReadReport reads any text as the report of a worker, which stands in a bucket.
func FuzzReadReport(f *testing.F) {
	f.Add([]byte(`{"partitions":[{"partition":3,"state":"running"}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for partition, report := range ReadReport(json.RawMessage(text)) {
			if partition != report.Partition {
				t.Fatalf("partition %d reports as %d", report.Partition, partition)
			}
		}
	})
}
