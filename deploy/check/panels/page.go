package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"

	"holdmetrics/deploy/check/monitoring"
)

// The grid of a dashboard has 24 columns.
const (
	column = 54 // pixels
	line   = 30
	gap    = 8
)

var colours = []string{"#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#fade2a", "#96d98d", "#ffa6b0"}

// page is a dashboard with its data.
type page struct {
	title, about, values string
	from, to             time.Time
	panels               []shown
}

// shown is a panel with its series.
type shown struct {
	monitoring.Panel
	series []series
	err    error
}

// html returns the page. It is one drawing, so that a picture of it needs no more.
func (p *page) html() []byte {
	height := 0
	for _, s := range p.panels {
		height = max(height, (s.GridPos.Y+s.GridPos.H)*line)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title>\n"+
		"<body style=\"margin:0;background:#111217;color:#d8d9da;font:13px sans-serif\">\n"+
		"<h1 style=\"font-size:18px;margin:12px 16px 2px\">%s</h1><p style=\"margin:0 16px 8px;color:#8e8e8e\">%s. %s. %s to %s UTC</p>\n",
		html.EscapeString(p.title), html.EscapeString(p.title), html.EscapeString(p.about), html.EscapeString(p.values),
		p.from.UTC().Format("2006-01-02 15:04"), p.to.UTC().Format("15:04"))
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", 24*column+gap, height+gap)
	for _, s := range p.panels {
		x, y := s.GridPos.X*column+gap, s.GridPos.Y*line+gap
		w, h := s.GridPos.W*column-gap, s.GridPos.H*line-gap
		fmt.Fprintf(&b, "<g transform=\"translate(%d,%d)\"><title>%s</title><rect width=\"%d\" height=\"%d\" rx=\"3\" fill=\"#181b1f\" stroke=\"#2c2f35\"/>"+
			"<text x=\"10\" y=\"20\" fill=\"#d8d9da\" font-weight=\"bold\">%s</text>\n", x, y, html.EscapeString(s.Description), w, h, html.EscapeString(s.Title))
		switch {
		case s.err != nil:
			fmt.Fprintf(&b, "<text x=\"10\" y=\"44\" fill=\"#f2495c\">%s</text>", html.EscapeString(s.err.Error()))
		case len(s.series) == 0:
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" fill=\"#8e8e8e\" text-anchor=\"middle\">No data</text>", w/2, h/2+10)
		case s.Type == "stat":
			s.stat(&b, w, h)
		default:
			s.lines(&b, p, w, h)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg></body></html>\n")
	return b.Bytes()
}

// stat draws the last value of each series, in the colour of its threshold.
func (s *shown) stat(b *bytes.Buffer, w, h int) {
	for i, one := range s.series {
		value := one.values[len(one.values)-1]
		at := w * (2*i + 1) / (2 * len(s.series))
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" font-size=\"30\" text-anchor=\"middle\" fill=\"%s\">%s</text>", at, h/2+24, s.colour(value), s.format(value))
	}
}

// colour returns the colour of a value by the thresholds of its panel.
func (s *shown) colour(value float64) string {
	names := map[string]string{"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
	chosen := names["green"]
	defaults, _ := s.FieldConfig["defaults"].(map[string]any)
	thresholds, _ := defaults["thresholds"].(map[string]any)
	steps, _ := thresholds["steps"].([]any)
	for _, step := range steps {
		step, _ := step.(map[string]any)
		from, bounded := step["value"].(float64)
		name, _ := step["color"].(string)
		if c := names[name]; c != "" && (!bounded || value >= from) {
			chosen = c
		}
	}
	return chosen
}

// lines draws the series over time, with a legend below.
func (s *shown) lines(b *bytes.Buffer, p *page, w, h int) {
	slices.SortFunc(s.series, func(a, b series) int { return strings.Compare(a.name, b.name) })
	left, right := 64, w-12
	names, rows := s.legend(left, right)
	top, bottom := 34, h-30-16*rows
	low, high := 0.0, 0.0
	for _, one := range s.series {
		for _, v := range one.values {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	ticks := grid(low, high, s.unit() == "bytes")
	low, high = min(low, ticks[0]), max(high, ticks[len(ticks)-1])
	from, to := float64(p.from.Unix()), float64(p.to.Unix())
	x := func(t float64) float64 { return float64(left) + (t-from)/(to-from)*float64(right-left) }
	y := func(v float64) float64 { return float64(bottom) - (v-low)/(high-low)*float64(bottom-top) }
	for _, v := range ticks {
		fmt.Fprintf(b, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#2c2f35\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#8e8e8e\" font-size=\"11\">%s</text>\n",
			left, right, y(v), y(v), left-6, y(v)+4, s.format(v))
	}
	for i := range 5 {
		t := from + (to-from)*float64(i)/4
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#8e8e8e\" font-size=\"11\">%s</text>", min(x(t), float64(right-16)), bottom+15, time.Unix(int64(t), 0).UTC().Format("15:04"))
	}
	for i, one := range s.series {
		colour := colours[i%len(colours)]
		// A hole in a series is a hole in its line.
		last, path := math.Inf(-1), strings.Builder{}
		for j, t := range one.times {
			v := one.values[j]
			if math.IsNaN(v) || math.IsInf(v, 0) {
				last = math.Inf(-1)
				continue
			}
			move := "L"
			if t-last > (to-from)/points*2.5 {
				move = "M"
				fmt.Fprintf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.5\" fill=\"%s\"/>", x(t), y(v), colour)
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", move, x(t), y(v))
			last = t
		}
		fmt.Fprintf(b, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\"/>\n", &path, colour)
		if n := names[i]; n.text != "" {
			y := h - 16*(rows-n.row)
			fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"3\" fill=\"%s\"/><text x=\"%d\" y=\"%d\" fill=\"#d8d9da\" font-size=\"11\">%s</text>\n", n.x, y, colour, n.x+16, y+5, html.EscapeString(n.text))
		}
	}
}

// name is where the legend has the name of a series, or nothing if it is full.
type name struct {
	x, row int
	text   string
}

// legend returns the names of the series in their order, and how many rows they take.
func (s *shown) legend(left, right int) (names []name, rows int) {
	const most = 3
	x := left
	for _, one := range s.series {
		text := []rune(one.name)
		if len(text) > 40 {
			text = append(text[:39], '…')
		}
		width := 26 + 7*len(text)
		if x > left && x+width > right {
			x, rows = left, rows+1
		}
		if rows >= most {
			names = append(names, name{})
			continue
		}
		names = append(names, name{x, rows, string(text)})
		x += width
	}
	return names, min(rows+1, most)
}

// grid returns round values from low to high, at least two. Those of bytes are powers of two.
func grid(low, high float64, bytes bool) []float64 {
	if high <= low {
		high = low + 1
	}
	base, factors := 10.0, []float64{1, 2, 5, 10}
	if bytes {
		base, factors = 2, []float64{1, 2}
	}
	step := math.Pow(base, math.Floor(math.Log((high-low)/4)/math.Log(base)))
	for _, m := range factors {
		if (high-low)/(step*m) <= 5 {
			step *= m
			break
		}
	}
	var all []float64
	for v := math.Floor(low/step) * step; v < high+step; v += step {
		all = append(all, v)
	}
	return all
}

func (s *shown) unit() string {
	defaults, _ := s.FieldConfig["defaults"].(map[string]any)
	unit, _ := defaults["unit"].(string)
	return unit
}

// format returns a value in the unit of its panel, as short as Grafana has it.
func (s *shown) format(v float64) string {
	unit := s.unit()
	scaled := func(steps ...any) string {
		size := math.Abs(v)
		for i := 0; i+1 < len(steps); i += 2 {
			if by := steps[i].(float64); size >= by || i+2 >= len(steps) {
				return fmt.Sprintf("%.3g%s", v/by, steps[i+1])
			}
		}
		return fmt.Sprint(v)
	}
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprint(v)
	case v == 0:
		return "0"
	case unit == "s":
		return scaled(86400.0, " d", 3600.0, " h", 60.0, " min", 1.0, " s", 1e-3, " ms", 1e-6, " µs")
	case unit == "bytes":
		return scaled(float64(1<<30), " GiB", float64(1<<20), " MiB", float64(1<<10), " KiB", 1.0, " B")
	}
	return scaled(1e9, " Bil", 1e6, " Mil", 1e3, " K", 1.0, "", 1e-3, " m")
}
