package report

import (
	"bytes"
	"encoding/json"
	"math"
)

// jsonLine is a line as -json has it. against_value and ratio are null where
// nothing was measured against.
type jsonLine struct {
	Row          string   `json:"row"`
	Value        float64  `json:"value"`
	Unit         string   `json:"unit"`
	Against      string   `json:"against"`
	AgainstValue *float64 `json:"against_value"`
	Ratio        *float64 `json:"ratio"`
	Aim          string   `json:"aim"`
	Met          bool     `json:"met"`
	Fsync        bool     `json:"fsync"`
	PeakMemory   int      `json:"peak_memory,omitempty"` // bytes
	Repetitions  int      `json:"repetitions,omitempty"`
	Least        *float64 `json:"least,omitempty"` // of the ratios of all repetitions, or of the values without a peer
	Most         *float64 `json:"most,omitempty"`
	Note         string   `json:"note,omitempty"`
	Skipped      string   `json:"skipped,omitempty"` // why; then the values mean nothing
}

// JSON is the lines as an array.
func JSON(lines []Line) ([]byte, error) {
	out := make([]jsonLine, len(lines))
	for i := range lines {
		l := &lines[i]
		out[i] = jsonLine{Row: l.Name, Value: l.Value, Unit: l.Unit, Against: l.Against,
			Aim: l.Aim.describe(l.Unit), Met: l.met(), Fsync: l.Fsync, PeakMemory: l.Peak, Note: l.Note, Skipped: l.Skipped}
		if l.Repetitions > 1 && l.Skipped == "" {
			out[i].Repetitions, out[i].Least, out[i].Most = l.Repetitions, &l.Least, &l.Most
		}
		if l.Against != "" && l.Skipped == "" {
			out[i].AgainstValue = &l.AgainstValue
		}
		if r := l.ratio(); !math.IsNaN(r) && l.Skipped == "" {
			out[i].Ratio = &r
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // ">=" is for people
	e.SetIndent("", "  ")
	err := e.Encode(out)
	return text.Bytes(), err
}
