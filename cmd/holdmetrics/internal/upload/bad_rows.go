package upload

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/ingest/rows"
)

// ShownBadRows is how many bad rows are named; the others are counted.
const ShownBadRows = 20

// BadRows are the rows of event files that did not parse, or that were refused.
// They are passed over and reported at the end. It is safe for concurrent use, since
// what the server refuses comes while the reading goes on.
type BadRows struct {
	Files []string // in the order they are read

	mu    sync.Mutex
	count int64
	// The first of each kind: rows that were found to be bad here, and events that
	// were refused. Each kind comes in the order of the files, so the first rows of
	// all are among them.
	unsent, refusals []*rows.Error
}

// AddUnsent notes a row that does not parse, or that cannot be sent.
func (b *BadRows) AddUnsent(err *rows.Error) { b.add(&b.unsent, err) }

// addRefusal notes a row whose event the server refused.
func (b *BadRows) addRefusal(err *rows.Error) { b.add(&b.refusals, err) }

func (b *BadRows) add(to *[]*rows.Error, err *rows.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if len(*to) < ShownBadRows {
		*to = append(*to, err)
	}
}

// Rows is how many there were; of nil, none.
func (b *BadRows) Rows() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// Tell names the first of them, one a line, and says how many more there are.
func (b *BadRows) Tell(out io.Writer) {
	if b.Rows() == 0 {
		return
	}
	first := slices.Concat(b.unsent, b.refusals)
	slices.SortStableFunc(first, func(x, y *rows.Error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(b.Files, x.Place.File), slices.Index(b.Files, y.Place.File)),
			cmp.Compare(x.Place.Line, y.Place.Line))
	})
	first = first[:min(len(first), ShownBadRows)]
	for _, err := range first {
		fmt.Fprintln(out, rows.Safe(err.Error()))
	}
	if more := b.count - int64(len(first)); more > 0 {
		fmt.Fprintf(out, "and %s\n", printing.Counted(more, "more bad row", "more bad rows"))
	}
}
