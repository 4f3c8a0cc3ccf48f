package main

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
	Note         string   `json:"note,omitempty"`
	Skipped      string   `json:"skipped,omitempty"` // why; then the values mean nothing
}

// encodeJSON is the lines as an array.
func encodeJSON(lines []line) ([]byte, error) {
	out := make([]jsonLine, len(lines))
	for i := range lines {
		l := &lines[i]
		out[i] = jsonLine{Row: l.name, Value: l.value, Unit: l.unit, Against: l.against,
			Aim: l.aim.describe(l.unit), Met: l.met(), Fsync: l.fsync, Note: l.note, Skipped: l.skipped}
		if l.against != "" && l.skipped == "" {
			out[i].AgainstValue = &l.againstValue
		}
		if r := l.ratio(); !math.IsNaN(r) && l.skipped == "" {
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
