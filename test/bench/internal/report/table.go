package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes the lines as a table with notes.
func Print(w io.Writer, lines []Line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tvalue\tagainst, same run\tvalue\tratio\taim\tmet\tfsync\tpeak")
	for i := range lines {
		l := &lines[i]
		against, againstValue, ratio := "-", "-", "-"
		if l.Against != "" {
			against, againstValue = l.Against, Number(l.AgainstValue)+" "+l.Unit
		}
		if r := l.ratio(); !math.IsNaN(r) {
			ratio = Number(r)
		}
		value := Number(l.Value) + " " + l.Unit
		if l.Skipped != "" {
			value, against, againstValue, ratio = "skipped", orDash(l.Against), "-", "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, value,
			against, againstValue, ratio, orDash(l.Aim.describe(l.Unit)), l.verdict(), onOff(l.Fsync), l.peak())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range lines {
		for _, said := range []string{lines[i].Skipped, lines[i].Note} {
			if said == "" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s: %s\n", lines[i].Name, said); err != nil {
				return err
			}
		}
	}
	return nil
}

// Number is three significant digits, or a whole number with its thousands apart.
func Number(x float64) string {
	if math.Abs(x) < 100 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(math.Abs(x), 'f', 0, 64)
	var b strings.Builder
	if x < 0 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// verdict returns whether the aim is met, or a dash if there is no aim.
func (l *Line) verdict() string {
	switch {
	case len(l.Aim) == 0 || l.Skipped != "":
		return "-"
	case l.met():
		return "yes"
	}
	return "no"
}

// peak is the peak of memory, or a dash if it is not known.
func (l *Line) peak() string {
	if l.Peak == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MB", l.Peak>>20)
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
