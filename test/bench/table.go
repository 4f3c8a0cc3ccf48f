package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printTable writes the lines for people.
func printTable(w io.Writer, lines []line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tvalue\tagainst, same run\tvalue\tratio\taim\tmet\tfsync")
	for i := range lines {
		l := &lines[i]
		against, againstValue, ratio := "-", "-", "-"
		if l.against != "" {
			against, againstValue = l.against, number(l.againstValue)+" "+l.unit
		}
		if r := l.ratio(); !math.IsNaN(r) {
			ratio = number(r)
		}
		value := number(l.value) + " " + l.unit
		if l.skipped != "" {
			value, against, againstValue, ratio = "skipped", orDash(l.against), "-", "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.name, value,
			against, againstValue, ratio, orDash(l.aim.describe(l.unit)), l.verdict(), onOff(l.fsync))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range lines {
		for _, said := range []string{lines[i].skipped, lines[i].note} {
			if said == "" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s: %s\n", lines[i].name, said); err != nil {
				return err
			}
		}
	}
	return nil
}

// number is three significant digits, or a whole number with its thousands apart.
func number(x float64) string {
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

// verdict reports whether the aim is met, if there is one.
func (l *line) verdict() string {
	switch {
	case len(l.aim) == 0 || l.skipped != "":
		return "-"
	case l.met():
		return "yes"
	}
	return "no"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
