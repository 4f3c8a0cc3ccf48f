package hold_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"strings"
	"testing"

	"holdmetrics/hold"
)

// TestStoredBytes holds the bytes that stores keep (pages, sealed parts, figures)
// against digests of what earlier versions wrote: data directories must stay
// readable, and the same log must give the same bytes (S10.3).
func TestStoredBytes(t *testing.T) {
	t.Parallel()
	const file = "testdata/stored_bytes.sums"
	lengths := map[size]int{usual: 600, deep: 2500, chained: 300}
	var got strings.Builder
	for i, scenario := range largeScenarios {
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			for _, n := range []int{20, 60, lengths[scenario.size]} {
				digest := sha256.New()
				digestHistory(digest, policy, scenario.events(n, seeded(uint64(i))))
				fmt.Fprintf(&got, "%s / %v / %d: %s\n", scenario.name, policy, n, hex.EncodeToString(digest.Sum(nil)[:12]))
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wanted) || line != wanted[i] {
			t.Errorf("stored bytes changed: %s", line)
		}
	}
}

// digestHistory writes everything that a store would keep of a pair with this
// history: flushed from time to time, then sealed, then flushed again.
func digestHistory(digest hash.Hash, policy hold.Policy, events []hold.Event) {
	p := hold.NewPair(policy)
	flush := func() {
		for page := range p.DirtyPages() {
			fmt.Fprintf(digest, "%x=%x\n", page.Key, page.Data)
		}
		fmt.Fprintf(digest, "sealed %x\n", p.DirtySealed())
		p.ClearDirty()
	}
	latest := int64(1)
	for i := range events {
		latest = max(latest, events[i].Start, events[i].End)
		p.Add(events[i].Fact())
		if i%97 == 3 {
			flush()
		}
	}
	flush()
	for _, at := range []int64{1, latest / 2, latest, latest + 10} {
		f := p.Figures(at)
		fmt.Fprintf(digest, "figures %x\n", f.Append(nil))
	}
	for _, horizon := range []int64{latest / 3, latest} {
		p.Seal(horizon, horizon)
		flush()
	}
	f := p.Figures(latest)
	fmt.Fprintf(digest, "figures %x\n", f.Append(nil))
}
