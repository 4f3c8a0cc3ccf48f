// Package auditlog keeps who did what, and who was refused, in a JetStream stream of its
// own. It is bounded by age and size, and nobody can delete a single entry.
//
// Refusals are counted together, so that somebody who is refused a thousand times a second
// neither floods the stream nor pushes out what operators did. Acts are written by the
// commands that do them.
package auditlog

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"holdmetrics/ingest/rows"
)

// Kind is what an entry is about.
type Kind string

// The kinds of entries.
const (
	Act     Kind = "act"     // of an operator
	Refusal Kind = "refusal" // of a request
)

// The outcomes of acts. That of a refusal is its reason.
const (
	Done   = "done"
	Failed = "failed"
)

// Entry is a line of the audit log. Its texts are safe to print, and bounded.
type Entry struct {
	At      time.Time  `json:"at"`
	Kind    Kind       `json:"kind"`
	Who     string     `json:"who"`
	From    string     `json:"from,omitempty"` // address of a client, or name of a machine
	What    string     `json:"what"`           // a call, or a command with its arguments
	Outcome string     `json:"outcome"`
	Detail  string     `json:"detail,omitempty"`
	Count   uint64     `json:"count,omitempty"` // of refusals that are alike; 0: one
	Since   *time.Time `json:"since,omitempty"` // the first of them

	Sequence uint64 `json:"-"` // in the stream, of an entry that was read
}

// The longest texts of an entry, in bytes.
const (
	maxShort = 256
	maxLong  = 512
)

// clip makes a text safe to print, and bounds it.
func clip(text string, most int) string {
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	return rows.Safe(text)
}

// encode returns an entry as the stream has it.
func (e *Entry) encode() ([]byte, error) {
	safe := *e
	safe.Who, safe.From, safe.Outcome = clip(e.Who, maxShort), clip(e.From, maxShort), clip(e.Outcome, maxShort)
	safe.What, safe.Detail = clip(e.What, maxLong), clip(e.Detail, maxLong)
	return json.Marshal(safe)
}

// decode reads an entry. Anybody may have written to the stream, so nothing is believed of
// it, but that it can be printed.
func decode(data []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("auditlog: %w", err)
	}
	for _, text := range []*string{&e.Who, &e.From, &e.What, &e.Outcome, &e.Detail} {
		*text = clip(strings.ToValidUTF8(*text, "?"), 8*maxLong)
	}
	e.Kind = Kind(clip(string(e.Kind), maxShort))
	return e, nil
}
