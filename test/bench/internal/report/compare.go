package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
)

// leastSpread is the part of a figure that one run may differ from the next without a
// meaning. It is used where a line was measured once, or its repetitions agree more.
const leastSpread = 0.05

// Verdict is what a comparison says about a line.
type Verdict string

// The verdicts of [Compare].
const (
	Same     Verdict = "same"         // within the spread
	Better   Verdict = "better"       // by more than the spread
	Worsened Verdict = "worse"        // by more than the spread
	Added    Verdict = "new"          // the kept run does not have it
	Gone     Verdict = "gone"         // this run does not have it
	NoFigure Verdict = "not measured" // skipped or void in one of the runs
)

// Change is one line of two runs.
type Change struct {
	Line     Line // of this run; of the kept one if it is gone
	Old, New float64
	Change   float64 // New / Old - 1; NaN if one is missing
	Spread   float64 // part of Old that the change must exceed
	Verdict  Verdict
}

// ReadFile reads the lines that [JSON] wrote. Their aims are not read.
func ReadFile(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var kept []jsonLine
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("%s: it is not a table that -json wrote: %w", path, err)
	}
	lines := make([]Line, len(kept))
	for i, k := range kept {
		lines[i] = Line{Name: k.Row, Value: k.Value, Unit: k.Unit, Against: k.Against, Fsync: k.Fsync,
			Peak: k.PeakMemory, Note: k.Note, Skipped: k.Skipped, Repetitions: k.Repetitions}
		if k.AgainstValue != nil {
			lines[i].AgainstValue = *k.AgainstValue
		}
		if k.Least != nil && k.Most != nil {
			lines[i].Least, lines[i].Most = *k.Least, *k.Most
		}
	}
	return lines, nil
}

// Compare sets the lines of this run beside those of a kept one, in the order of this
// run. A line that has a peer is compared by its ratio, since ratios depend less on the
// machine; any other by its value.
func Compare(kept, now []Line) []Change {
	old := make(map[string]*Line, len(kept))
	for i := range kept {
		old[kept[i].key()] = &kept[i]
	}
	var changes []Change
	for i := range now {
		l := &now[i]
		before, ok := old[l.key()]
		if !ok {
			changes = append(changes, Change{Line: *l, Old: math.NaN(), New: l.rank(), Change: math.NaN(), Verdict: Added})
			continue
		}
		delete(old, l.key())
		changes = append(changes, change(before, l))
	}
	for i := range kept {
		if l := &kept[i]; old[l.key()] != nil {
			changes = append(changes, Change{Line: *l, Old: l.rank(), New: math.NaN(), Change: math.NaN(), Verdict: Gone})
		}
	}
	return changes
}

func change(before, now *Line) Change {
	c := Change{Line: *now, Old: before.rank(), New: now.rank(), Verdict: Same}
	c.Change = c.New/c.Old - 1
	if before.Skipped != "" || now.Skipped != "" || now.Void || math.IsNaN(c.Change) || math.IsInf(c.Change, 0) {
		c.Change, c.Verdict = math.NaN(), NoFigure
		return c
	}
	c.Spread = max(leastSpread, before.spread(), now.spread())
	up := c.Change
	if !now.moreIsBetter() {
		up = -up
	}
	switch {
	case up < -c.Spread:
		c.Verdict = Worsened
	case up > c.Spread:
		c.Verdict = Better
	}
	return c
}

// spread is how far the repetitions of a line lie apart, as a part of their median.
func (l *Line) spread() float64 {
	if l.Repetitions < 2 || l.rank() == 0 {
		return 0
	}
	return (l.Most - l.Least) / math.Abs(l.rank())
}

// moreIsBetter reports whether the line is a rate; times and bytes are costs.
func (l *Line) moreIsBetter() bool { return strings.HasSuffix(l.Unit, "/s") }

// Worse counts the lines that got worse by more than the spread.
func Worse(changes []Change) (n int) {
	for _, c := range changes {
		if c.Verdict == Worsened {
			n++
		}
	}
	return n
}

// PrintChanges writes a table of the lines that differ by more than the spread or are not
// in both runs, and says how many lines do not.
func PrintChanges(w io.Writer, changes []Change) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	same := 0
	for i, c := range changes {
		if c.Verdict == Same {
			same++
			continue
		}
		if i == same { // the first that differs
			fmt.Fprintln(t, "row\tcompared by\tkept run\tthis run\tchange\tspread\tverdict")
		}
		by := c.Line.Unit
		if c.Line.Against != "" {
			by = "ratio to " + c.Line.Against
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Line.Name, by, figure(c.Old), figure(c.New), percent(c.Change, true), percent(c.Spread, false), c.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d lines are within the spread\n", same, len(changes))
	return err
}

func figure(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return Number(x)
}

func percent(x float64, signed bool) string {
	switch {
	case math.IsNaN(x) || x == 0 && !signed:
		return "-"
	case signed:
		return fmt.Sprintf("%+.1f %%", 100*x)
	}
	return fmt.Sprintf("%.1f %%", 100*x)
}
