package times_test

import (
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/ingest/times"
)

// Whatever Quick reads, Parse reads as well, and to the same instant.
func TestQuickIsParse(t *testing.T) {
	t.Parallel()
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		r := times.Reader{UTC: rapid.Bool().Draw(t, "utc"), Unit: rapid.SampledFrom([]times.Unit{times.Seconds, times.Seconds, times.Milliseconds}).Draw(t, "unit")}
		text := rapid.OneOf(
			rapid.StringMatching(`[0-9]{8,11}`),
			rapid.StringMatching(`(19|20|21|22)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z?`),
			rapid.StringMatching(`[0-9T:Z -]{9,20}`),
			rapid.SampledFrom([]string{"1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "2199-12-31 23:59:59", "2200-01-01T00:00:00Z", "000000000", "7258118400", "7258118401", "2026-01-31"}),
		).Draw(t, "text")
		ns, ok := r.Quick(text)
		if !ok {
			return
		}
		read++
		stamp, err := r.Parse(text)
		if err != nil || !stamp.Set || stamp.Seconds*1e9+int64(stamp.Nanos) != ns {
			t.Fatalf("%q: %d, and Parse has %+v, %v", text, ns, stamp, err)
		}
	})
	if read == 0 {
		t.Error("no text was read")
	}
}
