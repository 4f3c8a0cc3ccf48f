package main

import (
	"fmt"
	"io"
	"strings"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/ingest/events"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/transfers"
)

// shownNotes is how many of a kind are named; the others are counted.
const shownNotes = 10

// summaries are what is worth knowing about the rows of files.
type summaries struct {
	lines     [][2]string // a name and a number, for the table of an import
	notes     []string    // sentences
	badTokens int
}

func (s *summaries) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// count adds a number that is not 0, with what it means.
func (s *summaries) count(name string, n int64, meaning string) {
	if n != 0 {
		s.lines = append(s.lines, [2]string{name, fmt.Sprint(n)})
		s.note("%s: %d (%s)", name, n, meaning)
	}
}

// tell prints the bad rows, and what is to be said about the others.
func (s *source) tell(out io.Writer) *summaries {
	s.bad.Tell(out)
	if s.summary == nil {
		return new(summaries)
	}
	summary := s.summary()
	for _, text := range summary.notes {
		fmt.Fprintln(out, "holdmetrics: "+rows.Safe(text))
	}
	return summary
}

// summarize returns in words what a ledger found out. named reports whether the columns
// were asked for, so that they are named in any case.
func summarize(l *transfers.Summary, named, byBlock bool) *summaries {
	s := new(summaries)
	for _, from := range l.Sources {
		if named || from.Preset != "ethereum-etl" && from.Preset != "balances" {
			s.note("%s: columns as %s names them", rows.Safe(from.File), from.Preset)
		}
		if from.Decimals != "" {
			s.note("%s: decimals from column %s; --decimals overrides it", rows.Safe(from.File), rows.Quote(from.Decimals))
		}
		if from.UnusedDecimals != "" {
			s.note("warning: %s: column %s is not used, and seems to have the decimals of each token: --decimals-column %[2]s reads it", rows.Safe(from.File), rows.Quote(from.UnusedDecimals))
		}
		if from.ID != "" {
			s.note("%s: each id of column %s is a token of its own", rows.Safe(from.File), rows.Quote(from.ID))
		}
		if named && len(from.Unused) > 0 {
			s.note("%s: columns that are not used: %s", rows.Safe(from.File), rows.List(from.Unused))
		}
	}
	if l.AutoIDs {
		s.note("ids: every id is a 0x address, so they are compared in lower case; --ids none leaves them as they are")
	}
	if byBlock {
		s.note("times: by block, a block is a second; the last one is %d", l.Last/1e9)
	}
	if l.Sorted {
		s.note("rows: sorted by time, as they did not stand in that order")
	}
	s.count("duplicates", l.Duplicates, "rows of a log that was there already")
	s.count("equal statements", l.EqualStatements, "statements that were there already")
	s.count("taken back", l.TakenBack, "logs that a later row removed")
	s.count("removed, unseen", l.RemovedUnseen, "rows that remove a log that was not there")
	s.count("header lines", l.Headers, "passed over within files")
	s.count("not selected", l.Unselected, "rows of other tokens")
	s.count("coin transfers", l.Coins, "rows of the chain's coin, left out")
	s.count("of nobody", l.OfNobody, "statements about the zero address, left out")
	s.count("rounded", l.Rounded, "weights that lost digits beyond the 18th place")
	if l.Equal > 0 {
		s.count("equal rows", l.Equal, fmt.Sprintf("warning: equal in everything within one time, and counted each; first at %s; --tx and --log-index tell copies from transfers", l.FirstEqual))
	}
	for i, c := range l.Corrections {
		s.lines = append(s.lines, [2]string{"corrected " + rows.Clip(c.Token), c.Amount})
		if i < shownNotes {
			s.note("checkpoints corrected %s by %s, in %s", rows.Clip(c.Token), c.Amount, printing.Counted(c.Count, "balance", "balances"))
		}
	}
	if l.DividedIDs > 0 {
		s.note("warning: --decimals divides the amounts of ids of type 1155 too, %d of them; --decimals TOKEN=0 leaves those of a token as they are", l.DividedIDs)
	}
	for _, token := range l.Absent {
		s.note("warning: no row is of token %s, which the options name", quoteID(token))
	}
	s.lookalikes("holders", l.Holders)
	s.lookalikes("tokens", l.Tokens)
	s.badTokens = len(l.Bad)
	if s.badTokens > 0 {
		s.lines = append(s.lines, [2]string{"bad tokens", fmt.Sprint(s.badTokens)})
	}
	for _, bad := range l.Bad {
		s.note("token %s is left out: %v", rows.Clip(bad.Token), bad.Err)
	}
	return s
}

// skipped counts the fields that were ignored, and names them.
func (s *summaries) skipped(fields []events.Skipped) {
	if len(fields) == 0 {
		return
	}
	var total int64
	var names []string
	for _, f := range fields {
		total += f.Count
		name := rows.Quote(f.Name)
		if f.Name == "" {
			name = "others"
		}
		names = append(names, name)
	}
	s.count("ignored fields", total, strings.Join(names[:min(len(names), shownNotes)], ", "))
}

// lookalikes names ids that differ in case or in invisible characters alone.
func (s *summaries) lookalikes(what string, pairs []transfers.Lookalike) {
	for i, p := range pairs {
		if i == shownNotes {
			s.note("and %d more such pairs of %s", len(pairs)-i, what)
			return
		}
		how := "differ in case or in invisible characters alone"
		if p.Address() {
			how = "are two spellings of an address"
		}
		s.note("warning: %s %s and %s %s, and count as two", what, quoteID(p.A), quoteID(p.B), how)
	}
}

// tellLookalikes warns of different ids of events that look alike.
func tellLookalikes(out io.Writer, holders, tokens []string) {
	var s summaries
	s.lookalikes("holders", transfers.Lookalikes(holders))
	s.lookalikes("tokens", transfers.Lookalikes(tokens))
	for _, text := range s.notes {
		fmt.Fprintln(out, "holdmetrics: "+rows.Safe(text))
	}
}

// quoteID is an id with everything escaped that cannot be seen.
func quoteID(id string) string {
	return `"` + rows.Visible(id) + `"`
}
