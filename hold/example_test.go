package hold_test

import (
	"errors"
	"fmt"
	"time"

	"holdmetrics/hold"
)

// Example scores events offline, without a server. A stop ends the open hold, and an
// event that ends before it starts is refused.
func Example() {
	day := func(n int) hold.Stamp {
		return hold.Stamp{Seconds: time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC).Unix(), Set: true}
	}
	drafts := []hold.Draft{
		{Token: "GOLD", Holder: "alice", Start: day(1), WeightExact: "2.5"},
		{Token: "GOLD", Holder: "alice", End: day(3)}, // a stop: it ends the open hold
		{Token: "GOLD", Holder: "alice", Start: day(3), End: day(2)},
	}

	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()
	alice := hold.NewPair(hold.Merge)
	for i := range drafts {
		event, err := drafts[i].Check(now, hold.DefaultLimits())
		if refused := (*hold.FieldError)(nil); errors.As(err, &refused) {
			fmt.Printf("event %d refused: %v\n", i, refused)
			continue
		}
		alice.Add(event.Fact())
	}

	for _, t := range []int{2, 5} {
		amount := alice.LiveAt(day(t).Seconds * 1e9)
		fmt.Printf("as of January %d: score %v, held %v s\n", t, amount.Score, amount.Held)
	}
	// Output:
	// event 2 refused: end is before start: 2026-01-02T00:00:00Z is before 2026-01-03T00:00:00Z
	// as of January 2: score 216000, held 86400 s
	// as of January 5: score 432000, held 172800 s
}

// ExampleRule_LiveAt counts a pair by a rule of its token: a multiplier, and a boost
// after the first day.
func ExampleRule_LiveAt() {
	day := int64(24 * time.Hour)
	pair := hold.NewPair(hold.Merge)
	event := hold.Event{Token: "GOLD", Holder: "alice", Start: day, End: 3 * day}
	pair.Add(event.Fact())

	rule := hold.PlainRule(hold.Merge)
	rule.Multiplier = 2 * hold.MultiplierOne
	rule.Boosts = []hold.Boost{{After: day, Factor: 3 * hold.MultiplierOne}}
	if err := rule.Check(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("plain: ", pair.LiveAt(4*day).Score)
	fmt.Println("by rule:", rule.LiveAt(pair, 4*day).Score)
	// Output:
	// plain:  172800
	// by rule: 691200
}
