// Package interval keeps the effective holds of one large pair in a B+ tree, in
// the order of time, and answers what they add up to.
//
// A [Tree] is a sequence of entries: facts, and effective holds that are no single
// fact. The caller decides which entries count as holds ([Tree.Count],
// [Tree.CountLoose]). The tree keeps, for every node, the area under the curve of
// the pair's policy over the node's stretch of time, so figures as of any instant
// cost O(log n) and the holds that overlap there.
//
// A tree begins as one leaf in memory. With its second leaf it becomes paged: each
// node is a page that can be stored, leave memory, and be read again by itself.
//
// The files, from the bottom up: entry.go and area.go (values), node.go (search and
// summaries), search.go (questions that summaries answer), sweep.go and edge.go (the
// curve over a few holds, and over many), tree.go (insert and split), curve.go
// (areas), page.go and encoding.go (stored form), pager.go (what is in memory).
//
// Nothing in it is safe for concurrent use.
package interval
