package lease

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// count is how many partitions each worker has.
func count(owners []string) map[string]int {
	n := map[string]int{}
	for _, w := range owners {
		n[w]++
	}
	return n
}

// checkEven fails where shares differ by more than one or a partition has no live owner.
func checkEven(t *rapid.T, target, workers []string) {
	n := count(target)
	if len(workers) == 0 {
		if n[""] != len(target) {
			t.Fatalf("without workers: %v", target)
		}
		return
	}
	least, most := len(target), 0
	for _, w := range workers {
		least, most = min(least, n[w]), max(most, n[w])
		delete(n, w)
	}
	if len(n) > 0 || most-least > 1 {
		t.Fatalf("shares from %d to %d, strangers %v: %v", least, most, n, target)
	}
}

// moves is how many partitions leave a live worker.
func moves(owners, target, workers []string) (n int) {
	for p, w := range owners {
		if slices.Contains(workers, w) && target[p] != w {
			n++
		}
	}
	return n
}

// fewest is how many at least must leave a live worker for shares to be even: each
// keeps what all have, and as many as there are left over keep one more.
func fewest(owners, workers []string) (n int) {
	if len(workers) == 0 {
		return 0
	}
	each, over := len(owners)/len(workers), len(owners)%len(workers)
	have := count(owners)
	for _, w := range workers {
		if more := have[w] - each; more > 0 {
			n += more
			if over > 0 {
				over--
				n--
			}
		}
	}
	return n
}

// Workers come and go, and each step is carried out in a random order, also
// while the next one begins.
func TestAssignOverJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		owners := make([]string, rapid.IntRange(1, 40).Draw(t, "partitions"))
		var workers []string
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			if len(workers) == 0 || rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				workers = append(workers, fmt.Sprintf("w%d-%d", step, rapid.IntRange(0, 1e6).Draw(t, "name")))
			} else {
				i := rapid.IntRange(0, len(workers)-1).Draw(t, "who")
				workers = slices.Delete(workers, i, i+1)
			}
			target := Assign(owners, workers)
			checkEven(t, target, workers)
			if got, want := moves(owners, target, workers), fewest(owners, workers); got != want {
				t.Fatalf("%d moves, %d would do: %v to %v among %v", got, want, owners, target, workers)
			}
			if again := Assign(slices.Clone(owners), reversed(workers)); !slices.Equal(again, target) {
				t.Fatalf("depends on the order of workers: %v, %v", again, target)
			}
			// On the way: given away first, then taken.
			order := rapid.Permutation(index(len(owners))).Draw(t, "order")
			part := rapid.IntRange(0, 2*len(order)).Draw(t, "up to")
			for i, p := range append(slices.Clone(order), order...) {
				if i == part && rapid.Bool().Draw(t, "interrupted") {
					break
				}
				if owners[p] == target[p] {
					continue
				}
				if i < len(order) {
					owners[p] = ""
				} else {
					owners[p] = target[p]
				}
				next := Assign(owners, workers)
				checkEven(t, next, workers)
				for q, w := range owners {
					if w != "" && w == target[q] && next[q] != w {
						t.Fatalf("partition %d moves on from %s to %s on the way", q, w, next[q])
					}
					if w != "" && w != target[q] && slices.Contains(workers, w) && next[q] == w {
						t.Fatalf("partition %d stays with %s after all", q, w)
					}
				}
			}
		}
	})
}

func index(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestAssignOne(t *testing.T) {
	t.Parallel()
	first := Assign(make([]string, 16), []string{"a"})
	if count(first)["a"] != 16 {
		t.Fatal(first)
	}
	second := Assign(first, []string{"b", "a"})
	if n := count(second); n["a"] != 8 || n["b"] != 8 || moves(first, second, []string{"a"}) != 8 {
		t.Fatal(second)
	}
	if got := Assign(nil, []string{"a"}); len(got) != 0 {
		t.Fatal(got)
	}
}

func reversed(workers []string) []string {
	out := slices.Clone(workers)
	slices.Reverse(out)
	return out
}
