package testseed

import (
	"os"
	"slices"
	"testing"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

func TestDraws(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, want uint64
		race    bool
	}{{100, 100, false}, {100, 20, true}, {4, 1, true}, {1, 1, true}, {1, 1, false}} {
		if got := draws(c.n, c.race); got != c.want {
			t.Errorf("%d draws, race %v: %d, want %d", c.n, c.race, got, c.want)
		}
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	if got := slices.Collect(seeds("a", 3, 0)); !slices.Equal(got, []uint64{0, 1, 2}) {
		t.Errorf("without a hunt: %v", got)
	}
	for range seeds("a", 3, 0) {
		break // it may be left
	}
	seen := map[uint64]bool{}
	for run := range uint64(10) {
		for _, name := range []string{"a", "b"} {
			got := slices.Collect(seeds(name, 3, run+1))
			if len(got) != 1 || !slices.Equal(got, slices.Collect(seeds(name, 3, run+1))) {
				t.Errorf("run %d: %v", run+1, got)
			}
			seen[got[0]] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d different seeds of 20", len(seen))
	}
	if got := slices.Collect(seeds("a", 500, 7)); len(got) != 5 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 5 {
		t.Errorf("of many: %v", got)
	}
	if of("a", 0) == of("b", 0) || of("a", 0) == of("a", 1) {
		t.Error("seeds are equal that should not be")
	}
}

func TestTheSeedOfARun(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "7": 7, "nonsense": 0} {
		t.Setenv(Variable, text)
		if got := fresh(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
