package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"

	"holdmetrics/ingest/rows"
)

// shownBadRows is how many bad rows are named; the others are counted.
const shownBadRows = 20

// badRows are the rows of event files that did not parse, or that were refused.
// They are passed over and told at the end. It is safe for concurrent use, since
// what the server refuses comes while the reading goes on.
type badRows struct {
	files []string // in the order they are read

	mu    sync.Mutex
	count int64
	// The first of each kind: rows that were found to be bad here, and events that
	// were refused. Each kind comes in the order of the files, so the first rows of
	// all are among them.
	unsent, refusals []*rows.Error
}

// addUnsent notes a row that does not parse, or that cannot be sent.
func (b *badRows) addUnsent(err *rows.Error) { b.add(&b.unsent, err) }

// addRefusal notes a row whose event the server refused.
func (b *badRows) addRefusal(err *rows.Error) { b.add(&b.refusals, err) }

func (b *badRows) add(to *[]*rows.Error, err *rows.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if len(*to) < shownBadRows {
		*to = append(*to, err)
	}
}

// rows is how many there were; of nil, none.
func (b *badRows) rows() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// tell names the first of them, one a line, and says how many more there are.
func (b *badRows) tell(out io.Writer) {
	if b.rows() == 0 {
		return
	}
	first := slices.Concat(b.unsent, b.refusals)
	slices.SortStableFunc(first, func(x, y *rows.Error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(b.files, x.Place.File), slices.Index(b.files, y.Place.File)),
			cmp.Compare(x.Place.Line, y.Place.Line))
	})
	first = first[:min(len(first), shownBadRows)]
	for _, err := range first {
		fmt.Fprintln(out, err)
	}
	if more := b.count - int64(len(first)); more > 0 {
		fmt.Fprintf(out, "and %s\n", counted(more, "more bad row", "more bad rows"))
	}
}

// counted is a number with its noun: "1 row", "2 rows".
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
