package sharded

import (
	"cmp"
	"slices"
)

func comparePairs(a, b *Pair) int {
	return cmp.Or(cmp.Compare(a.Holder, b.Holder), cmp.Compare(a.Token, b.Token))
}

func sortPairs(list []Pair) {
	slices.SortFunc(list, func(a, b Pair) int { return comparePairs(&a, &b) })
}

// mergePairs merges two sorted lists.
func mergePairs(a, b []Pair) []Pair {
	all := make([]Pair, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if comparePairs(&a[0], &b[0]) <= 0 {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}
