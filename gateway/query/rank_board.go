package query

import (
	"math"
	"sort"

	"github.com/tidwall/btree"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// board is the holders of one ranking, over all tokens or of one.
//
// A tree has them in the order of the settled score: the greatest first, equal
// ones by holder. It is compared by the nearest double, which never puts a smaller
// score first, and where two are equal by the exact scores; those stay encoded as
// they came until they are needed. A copy of the tree costs nothing, and shares
// with the tree what does not change, so every page of a cursor can be of one state.
//
// By live score there is no order to keep, since it changes while nothing happens:
// lines has every line once more, in a few bytes (rank_live.go).
//
// It costs about 170 bytes a holder beside the snapshot itself.
type board struct {
	tree *btree.BTreeG[rankItem]
	rows map[string]*rankRow // by holder
	// breaking are the rows whose line may break.
	breaking map[*rankRow]int64
	lines    liveLines

	newest int64 // the latest since of a line
	totals rankTotals
}

// rankItem is a row in the tree.
type rankItem struct {
	settled float64
	row     *rankRow
}

// rankRow is a holder. It belongs to one board, and is not changed once it is in it.
type rankRow struct {
	holder  string
	value   []byte // a snapshot, or the figures themselves
	figures bool   // value is hold.Figures
	whole   bool   // the double is the settled score, exactly
	settled float64
	slot    int // among the lines
}

func (r *rankRow) item() rankItem { return rankItem{r.settled, r} }

// rankTotals are the sums of a board. The live ones are kept as if every line had
// begun at time zero; see the processor's sums for why wrapping does no harm.
type rankTotals struct {
	settled hold.Score
	origin  hold.Score
	rate    hold.Rate
}

func (t *rankTotals) at(ns int64) hold.Score { return t.origin.Add(t.rate.Times(uint64(ns))) }

func (t *rankTotals) add(f *rankFigures) {
	t.settled = t.settled.Add(f.settled.Score)
	t.origin = t.origin.Add(f.line.Base.Score.Sub(f.line.Rate.Times(uint64(f.line.Since))))
	t.rate = t.rate.Add(f.line.Rate)
}

func (t *rankTotals) sub(f *rankFigures) {
	t.settled = t.settled.Sub(f.settled.Score)
	t.origin = t.origin.Sub(f.line.Base.Score.Sub(f.line.Rate.Times(uint64(f.line.Since))))
	t.rate = t.rate.Sub(f.line.Rate)
}

// rankFigures are the exact figures of a row.
type rankFigures struct {
	settled hold.Amount
	line    hold.Line
}

// read decodes the figures of a row. It was done once when the row came, so it
// does not fail.
func (r *rankRow) read() rankFigures {
	if r.figures {
		f, _, _ := hold.ParseFigures(r.value)
		return rankFigures{f.Settled, f.Line}
	}
	s, _ := projection.ReadSnapshot(r.value)
	return rankFigures{s.Settled, s.Line}
}

func newBoard(epoch int64) *board {
	return &board{
		tree: btree.NewBTreeGOptions(rankedBefore, btree.Options{NoLocks: true, Degree: 64}),
		rows: map[string]*rankRow{}, breaking: map[*rankRow]int64{}, lines: liveLines{epoch: epoch},
	}
}

// rankedBefore is the order of the tree.
func rankedBefore(a, b rankItem) bool {
	switch {
	case a.settled != b.settled:
		return a.settled > b.settled
	case a.row == b.row:
		return false
	case !a.row.whole || !b.row.whole:
		x, y := a.row.read(), b.row.read()
		if c := x.settled.Score.Cmp(y.settled.Score); c != 0 {
			return c > 0
		}
	}
	return a.row.holder < b.row.holder
}

// roughly is limbs x scale, to some units in the last place.
func roughly(limbs [6]uint64, scale float64) float64 {
	var f float64
	for i := len(limbs) - 1; i >= 0; i-- {
		f = f*(1<<64) + float64(limbs[i])
	}
	return f * scale
}

// snapshotRow is the row of a snapshot. key is the holder's.
func snapshotRow(key string, value []byte) (*rankRow, rankFigures, error) {
	s, err := projection.ReadSnapshot(value)
	if err != nil {
		return nil, rankFigures{}, err
	}
	row := &rankRow{holder: key, value: value}
	if string(s.Holder) != key {
		row.holder = string(s.Holder)
	}
	row.settled, row.whole = settledDouble(s.Settled.Score)
	return row, rankFigures{s.Settled, s.Line}, nil
}

// figuresRow is the row of figures.
func figuresRow(holder string, f rankFigures) *rankRow {
	figures := hold.Figures{Settled: f.settled, Line: f.line}
	row := &rankRow{holder: holder, value: figures.Append(nil), figures: true}
	row.settled, row.whole = settledDouble(f.settled.Score)
	return row
}

// settledDouble is the nearest double of a score, and whether it is the score
// itself: it is, where the score is a whole number that a double can hold.
func settledDouble(s hold.Score) (double float64, whole bool) {
	double = s.Float64()
	if double >= 1<<53 || double != math.Trunc(double) {
		return double, false
	}
	return double, s == wholeScore.Times(uint64(double))
}

// wholeScore is one weight-second: n times it is n of them.
var wholeScore = hold.Rate(hold.Rate{1e15}.Times(1e18))

// set puts a row in place of the holder's.
func (b *board) set(row *rankRow, f *rankFigures) {
	b.drop(row.holder)
	b.note(row, f)
	b.tree.Set(row.item())
}

func (b *board) note(row *rankRow, f *rankFigures) {
	b.rows[row.holder] = row
	b.totals.add(f)
	b.lines.add(row, &f.line)
	b.newest = max(b.newest, f.line.Since)
	if f.line.Until != 0 {
		b.breaking[row] = f.line.Until
	}
}

// drop takes a holder out, if it is there.
func (b *board) drop(holder string) {
	row := b.rows[holder]
	if row == nil {
		return
	}
	f := row.read()
	b.tree.Delete(row.item())
	b.lines.remove(row.slot)
	b.totals.sub(&f)
	delete(b.rows, holder)
	delete(b.breaking, row)
}

// load fills an empty board, which is much quicker than a set for each row.
func (b *board) load(rows []*rankRow) {
	items := make([]rankItem, len(rows))
	for i, row := range rows {
		f := row.read()
		b.note(row, &f)
		items[i] = row.item()
	}
	sort.Slice(items, func(i, j int) bool { return rankedBefore(items[i], items[j]) })
	for _, it := range items {
		b.tree.Load(it)
	}
}

// expired are the rows whose line does not hold any more at t.
func (b *board) expired(t int64) (rows []*rankRow) {
	for row, until := range b.breaking {
		if until <= t {
			rows = append(rows, row)
		}
	}
	return rows
}

// state is the board as it is now; later changes of the board do not change it.
func (b *board) state() rankState {
	return rankState{tree: b.tree.Copy(), lines: b.lines.freeze(), totals: b.totals}
}

// rankState is a board that stands still. It is safe for concurrent use.
type rankState struct {
	tree   *btree.BTreeG[rankItem]
	lines  frozenLines
	totals rankTotals
}

// bySettled is the place of an item by settled score, from 0.
func (s *rankState) bySettled(it rankItem) int {
	return sort.Search(s.tree.Len(), func(i int) bool {
		other, _ := s.tree.GetAt(i)
		return !rankedBefore(other, it)
	})
}
