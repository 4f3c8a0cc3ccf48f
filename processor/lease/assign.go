package lease

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Assign says which worker is to own each partition: owners[p] is who owns p
// now, "" where nobody does, and the result is who should. Workers are the live
// ones, each once, in any order; an owner that is not among them counts as
// nobody. Without workers nobody owns anything.
//
//   - Shares are even: they differ by one at most.
//   - Few moves: a partition leaves a live worker only where that worker has more
//     than its share, and no assignment with even shares takes away fewer.
//   - It settles: while owners give away and take what was assigned, in any
//     order, the assignment of the rest stays what it was.
//
// Everybody who sees the same comes to the same result.
func Assign(owners []string, workers []string) []string {
	target := make([]string, len(owners))
	if len(workers) == 0 {
		return target
	}
	workers = slices.Sorted(slices.Values(workers))
	held := make(map[string][]int, len(workers))
	for _, w := range workers {
		held[w] = nil
	}
	for p, w := range owners {
		if have, live := held[w]; live {
			held[w] = append(have, p)
		}
	}
	share := shares(len(owners), workers, held)

	var free []int
	for p, w := range owners {
		if _, live := held[w]; live {
			target[p] = w
		} else {
			free = append(free, p)
		}
	}
	for _, w := range workers {
		// What a worker gives away is fixed by the names alone, so that it is the
		// same while it is on its way.
		have := held[w]
		slices.SortFunc(have, func(a, b int) int { return preferred(w, a, w, b) })
		if len(have) > share[w] {
			free = append(free, have[share[w]:]...)
		}
		share[w] -= min(len(have), share[w])
	}
	slices.Sort(free)
	for _, p := range free {
		best := ""
		for _, w := range workers {
			if share[w] > 0 && (best == "" || preferred(w, p, best, p) < 0) {
				best = w
			}
		}
		target[p] = best
		share[best]--
	}
	return target
}

// shares says how many partitions each worker is to have. What is left over when
// all have the same goes first to those who have more already, in the order of
// their names: not of their numbers, which change on the way.
func shares(partitions int, workers []string, held map[string][]int) map[string]int {
	each, over := partitions/len(workers), partitions%len(workers)
	share := make(map[string]int, len(workers))
	for _, w := range workers {
		share[w] = each
	}
	for _, rich := range []bool{true, false} {
		for _, w := range workers {
			if over > 0 && (len(held[w]) > each) == rich {
				share[w]++
				over--
			}
		}
	}
	return share
}

// preferred orders (worker, partition) pairs by rendezvous hashing: what comes
// first is kept longer and taken sooner.
func preferred(w1 string, p1 int, w2 string, p2 int) int {
	if c := cmp.Compare(weight(w2, p2), weight(w1, p1)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(w1, w2), cmp.Compare(p1, p2))
}

func weight(worker string, partition int) uint64 {
	return xxhash.Sum64String(worker + "/" + strconv.Itoa(partition))
}
