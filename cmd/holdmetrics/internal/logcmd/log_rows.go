package logcmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/rows"
)

var logColumns = []string{"position", "index", "time", "partition", "token_id", "holder_id", "kind", "start", "end", "weight", "hold_id", "revision", "refused"}

// logBlock is how many rows of a table are laid out together: a log may have more
// than fits in memory.
const logBlock = 500

// logWriter writes events of the log as they come. Flush it at the end.
type logWriter struct {
	buf  *bufio.Writer
	row  func(fields []string) error
	end  func() error // of what row keeps back
	rows int

	widths []int // of the columns of a table that is followed, so far
}

func newLogWriter(out io.Writer, format string, follow bool) (*logWriter, error) {
	w := &logWriter{buf: bufio.NewWriter(out), end: func() error { return nil }}
	switch format {
	case "csv":
		c := rows.NewCSVWriter(w.buf)
		w.row = c.Write
		w.end = func() error { c.Flush(); return c.Error() }
		if err := w.row(logColumns); err != nil {
			return nil, err
		}
	case "json":
		w.row = func(fields []string) error {
			text, err := printing.JSONRow(logColumns, fields)
			if err != nil {
				return err
			}
			_, err = w.buf.Write(append(text, '\n'))
			return err
		}
	default:
		if follow {
			w.row = w.followRow
			break
		}
		t := tabwriter.NewWriter(w.buf, 3, 0, 2, ' ', 0)
		w.row = func(fields []string) error {
			cutIDs(fields)
			_, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(fields, "\t"), "\t"))
			if w.rows%logBlock == logBlock-1 && err == nil {
				err = t.Flush()
			}
			return err
		}
		w.end = t.Flush
	}
	if format == "table" {
		if err := w.row(slices.Clone(logColumns)); err != nil {
			return nil, err
		}
	}
	if follow { // the header shows at once that it has begun
		return w, w.flush()
	}
	return w, nil
}

// logWidths are how wide the columns begin where rows come one by one: what most
// tokens and holders take.
var logWidths = []int{len("position"), len("index"), len("2006-01-02T15:04:05.000000000Z"), len("partition"), 16, 24, len("retract"), 20, 20, 12, len("hold_id"), len("revision"), 0}

// followRow writes a row under those before it. What is wider than its column makes it
// wider from then on.
func (w *logWriter) followRow(fields []string) error {
	cutIDs(fields)
	if w.widths == nil {
		w.widths = slices.Clone(logWidths)
	}
	var line strings.Builder
	for i, field := range fields {
		wide := utf8.RuneCountInString(field)
		w.widths[i] = max(w.widths[i], wide)
		line.WriteString(field)
		line.WriteString(strings.Repeat(" ", w.widths[i]-wide+2))
	}
	_, err := fmt.Fprintln(w.buf, strings.TrimRight(line.String(), " "))
	return err
}

// cutIDs cuts the long ids of a row of a table.
func cutIDs(fields []string) {
	for i, column := range logColumns {
		if column == "token_id" || column == "holder_id" || column == "hold_id" {
			fields[i] = printing.Cut(fields[i], printing.ShownID)
		}
	}
}

// write writes one event, or what could not be read.
func (w *logWriter) write(log *ingest.Log, m *ingest.Message, e *ingest.Entry) error {
	_, refusal := log.Judge(m, e)
	d := draftText{kind: "unreadable"}
	if e.Err == nil {
		d = describeDraft(&e.Draft)
	}
	return w.writeRow(m, e.Index, d, refusal)
}

// writeSeal writes a message that seals its partition, or is meant to.
func (w *logWriter) writeSeal(ctx context.Context, log *ingest.Log, m *ingest.Message) error {
	horizon, refusal, err := log.JudgeSeal(ctx, m)
	if err != nil {
		return err
	}
	d := draftText{kind: "seal"}
	if horizon != 0 {
		d.end = timeOfNs(horizon)
	}
	return w.writeRow(m, 0, d, refusal)
}

func (w *logWriter) writeRow(m *ingest.Message, index int, d draftText, refusal error) error {
	reason := ""
	if refusal != nil {
		reason = printable(refusal.Error())
	}
	err := w.row([]string{usage.PositionText(m.Position), strconv.Itoa(index), timeOfNs(m.Time), strconv.Itoa(m.Partition),
		d.token, d.holder, d.kind, d.start, d.end, d.weight, d.holdID, d.revision, reason})
	w.rows++
	return err
}

func (w *logWriter) flush() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.buf.Flush()
}

// draftText is an event in words, also one that is refused.
type draftText struct {
	token, holder, kind, start, end, weight, holdID, revision string
}

func describeDraft(d *hold.Draft) draftText {
	t := draftText{
		token: printable(d.Token), holder: printable(d.Holder), kind: kindOf(d),
		start: stampText(d.Start), end: stampText(d.End), weight: weightText(d), holdID: printable(d.HoldID),
	}
	if d.Revision != 0 {
		t.revision = strconv.FormatUint(d.Revision, 10)
	}
	return t
}

// kindOf is what an event is, by what it gives: a hold, a stop, or the retract of one.
func kindOf(d *hold.Draft) string {
	switch {
	case d.Retract:
		return "retract"
	case !d.Start.Set && d.End.Set:
		return "stop"
	}
	return "hold"
}

// stampText is a time as it came: RFC 3339 where that can say it, else seconds and
// nanoseconds.
func stampText(t hold.Stamp) string {
	const year10000 = 253_402_300_800
	switch {
	case !t.Set:
		return ""
	case t.Nanos >= 0 && t.Nanos < 1e9 && t.Seconds >= -62_135_596_800 && t.Seconds < year10000:
		return time.Unix(t.Seconds, int64(t.Nanos)).UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%d s %d ns", t.Seconds, t.Nanos)
}

// weightText is the weight that counts, exact where it is one; none is empty.
func weightText(d *hold.Draft) string {
	if d.WeightExact != "" {
		if w, err := hold.ParseWeight(d.WeightExact); err == nil {
			return w.String()
		}
		return printable(d.WeightExact)
	}
	if !d.WeightGiven && d.Weight == 0 {
		return ""
	}
	if w, err := hold.WeightFromFloat(d.Weight); err == nil {
		return w.String()
	}
	return strconv.FormatFloat(d.Weight, 'g', -1, 64)
}

func timeOfNs(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// printable is a text of a stranger as a terminal may show it: what could move the
// cursor, or is not UTF-8, is escaped.
func printable(s string) string {
	s = strings.ReplaceAll(s, "\u00a0", " ") // protobuf has one or the other in its errors
	return rows.Safe(s)
}
