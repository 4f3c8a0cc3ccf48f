package intake

import (
	"fmt"
	"testing"

	"holdmetrics/hold"
)

// BenchmarkSendBatch is what an event with a hold_id costs before and after the log has
// it, beside one without.
func BenchmarkSendBatch(b *testing.B) {
	for _, ids := range []bool{false, true} {
		b.Run(fmt.Sprintf("ids=%v", ids), func(b *testing.B) {
			stream := newIntake(nil, hold.PlainRules(hold.Merge)).Stream(b.Context(), BroadcastBatch)
			drafts := make([]hold.Draft, 512)
			b.ReportAllocs()
			for n := 0; n < b.N; n += len(drafts) {
				for i := range drafts {
					drafts[i] = heldByID(1, 0, 1)
					if drafts[i].HoldID = ""; ids {
						drafts[i].HoldID = fmt.Sprint(n + i)
					}
				}
				stream.SendBatch(b.Context(), drafts, func(Batch) {})
			}
		})
	}
}
