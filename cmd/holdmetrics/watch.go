package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	holdpb "holdmetrics/proto"
)

// redrawEvery is how often a table on a terminal is redrawn, at most.
const redrawEvery = 500 * time.Millisecond

// watch is stats that goes on.
type watch struct {
	on       bool
	interval time.Duration
	count    uint64        // ends after so many lines; 0: never
	after    uint64        // position of the log to wait for
	again    time.Duration // how long to connect again after an interruption
}

func (w *watch) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&w.on, "watch", false, "go on with what changes, until Ctrl-C")
	f.DurationVar(&w.interval, "interval", time.Second, "with --watch: least time between two updates of one holder")
	f.Uint64Var(&w.count, "count", 0, "with --watch and lines: end after so many `lines` (default: never)")
	f.DurationVar(&w.again, "reconnect", 5*time.Minute, "with --watch: how long to reconnect after an interruption; 0: end at once")
	f.Uint64Var(&w.after, "after", 0, "with --watch: begin when this `position` of the log counts")
}

func (w *watch) check(q *statsQuery) error {
	for _, name := range []string{"interval", "count", "after", "reconnect"} {
		if !w.on && q.set.Changed(name) {
			return usage.Errorf("--%s goes with --watch", name)
		}
	}
	for _, name := range []string{"as-of", "from", "to", "projected", "token", "by-token", "share", "digits"} {
		if w.on && q.set.Changed(name) {
			return usage.Errorf("--watch goes on with what is current, of whole holders; it does not take --%s", name)
		}
	}
	switch {
	case w.interval < 0 || w.interval > time.Hour:
		return usage.Errorf("--interval %s is not between 0 and 1h", w.interval)
	case w.again < 0:
		return usage.Errorf("--reconnect %s is negative", w.again)
	}
	return nil
}

// run watches until ctx ends, which is no error, or the server is gone for too long.
// It writes to errOut what became of the connection, unless a table shows it.
func (w *watch) run(ctx context.Context, out, errOut io.Writer, server *connect.Server, holder, format string) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &holdpb.StatsRequest{Watch: true, Live: true, MinInterval: durationpb.New(w.interval), After: w.after}
	if holder != "" {
		req.HolderIds = []string{holder}
	}
	follow := newFollower(holdpb.NewHoldMetricsClient(conn), server, req, w.again, func(text string) {
		fmt.Fprintln(errOut, "holdmetrics: "+text)
	})
	defer follow.close()
	if file, ok := out.(*os.File); ok && format == "table" && term.IsTerminal(int(file.Fd())) {
		err = w.table(watching, cancel, file, follow)
	} else {
		err = w.lines(watching, out, follow, format)
	}
	if ctx.Err() != nil {
		return nil // Ctrl-C is how a watch ends
	}
	return server.Error(err)
}

var watchColumns = []string{"holder_id", "score", "held_seconds", "settled_score", "settled_held_seconds", "as_of", "position"}

// lines writes each change as a line, at once.
func (w *watch) lines(ctx context.Context, out io.Writer, follow *follower, format string) error {
	var line bytes.Buffer
	writeCSV := rows.NewCSVWriter(&line)
	write := func(fields []string) error {
		line.Reset()
		if format == "json" {
			text, err := printing.JSONRow(watchColumns, fields)
			if err != nil {
				return err
			}
			line.Write(append(text, '\n'))
		} else {
			_ = writeCSV.Write(fields)
			writeCSV.Flush()
		}
		_, err := out.Write(line.Bytes())
		return err
	}
	if format != "json" {
		if err := write(watchColumns); err != nil {
			return err
		}
	}
	for n := uint64(0); w.count == 0 || n < w.count; {
		s, err := follow.next(ctx)
		if err != nil {
			return err
		}
		if s.GetComplete() {
			continue
		}
		fields := []string{s.GetHolderId(), s.GetLiveScore(), s.GetLiveHeld(), s.GetScoreExact(), s.GetHeldExact(),
			timeText(s.GetAsOf()), fmt.Sprint(s.GetPosition())}
		if s.GetGone() {
			fields = []string{s.GetHolderId(), "", "", "", "", "", ""}
		}
		if err := write(fields); err != nil {
			return err
		}
		n++
	}
	return nil
}

// The screen beside the one that was there, and back.
const (
	otherScreen = "\x1b[?1049h\x1b[?25l"
	firstScreen = "\x1b[?25h\x1b[?1049l"
	fromTheTop  = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfPage  = "\x1b[J"
)

// table draws a table on a screen of its own, and leaves its last state on the
// first one.
func (w *watch) table(ctx context.Context, cancel func(), out *os.File, follow *follower) error {
	changes, notes := make(chan *holdpb.HoldStat), make(chan string)
	follow.note = func(text string) {
		select {
		case notes <- text:
		case <-ctx.Done():
		}
	}
	ended := make(chan error, 1)
	go func() {
		for {
			s, err := follow.next(ctx)
			if err != nil {
				ended <- err
				return
			}
			select {
			case changes <- s:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	t := &liveTable{lines: map[string]liveLine{}}
	if _, err := io.WriteString(out, otherScreen); err != nil {
		cancel()
		<-ended
		return err
	}
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	var err error
	for running := true; running; {
		select {
		case s := <-changes:
			err = t.take(s)
		case note := <-notes:
			t.interrupt(note)
		case <-tick.C:
			width, height, sizeErr := term.GetSize(int(out.Fd()))
			if sizeErr != nil {
				width, height = 80, 24
			}
			_, err = io.WriteString(out, fromTheTop+strings.ReplaceAll(t.draw(usage.WallClock(), width, height-1), "\n", restOfLine+"\n")+restOfPage)
		case err = <-ended:
			ended <- err
			running = false
		}
		running = running && err == nil
	}
	cancel()
	<-ended
	_, writeErr := io.WriteString(out, firstScreen+t.draw(usage.WallClock(), 1<<16, 24))
	return errors.Join(err, writeErr)
}

// liveTable is what is known of the holders.
type liveTable struct {
	lines    map[string]liveLine
	complete bool
	// After an interruption: what became of the connection, and who was sent since.
	note  string
	since map[string]bool
}

// interrupt notes what became of the connection. A watch that begins again sends
// nothing of holders who left in between, so those whom it sends are kept in mind.
func (t *liveTable) interrupt(note string) {
	t.note = note
	if t.since == nil {
		t.since = map[string]bool{}
	}
}

type liveLine struct {
	line    hold.Line
	settled string
}

func (t *liveTable) take(s *holdpb.HoldStat) (err error) {
	switch {
	case s.GetComplete():
		t.complete = true
		if t.since != nil && !s.GetResumed() {
			maps.DeleteFunc(t.lines, func(holder string, _ liveLine) bool { return !t.since[holder] })
		}
		t.since = nil
		return nil
	case s.GetGone():
		delete(t.lines, s.GetHolderId())
		return nil
	}
	l := liveLine{settled: s.GetScoreExact()}
	l.line.HeldRate = s.GetLiveHeldRate()
	if l.line.Base.Score, err = hold.ParseScore(s.GetLiveBase()); err != nil {
		return err
	}
	if l.line.Base.Held, err = hold.ParseHeld(s.GetLiveHeldBase()); err != nil {
		return err
	}
	if l.line.Rate, err = hold.ParseRate(s.GetLiveRate()); err != nil {
		return err
	}
	if s.GetSince() != nil {
		l.line.Since = s.GetSince().AsTime().UnixNano()
	}
	if s.GetUntil() != nil {
		l.line.Until = s.GetUntil().AsTime().UnixNano()
	}
	t.lines[s.GetHolderId()] = l
	if t.since != nil {
		t.since[s.GetHolderId()] = true
	}
	return nil
}

// at is the live amount, not past the instant at which the line may break.
func (l *liveLine) at(now int64) hold.Amount {
	if l.line.Until != 0 {
		now = min(now, l.line.Until)
	}
	return l.line.At(now)
}

// draw is the table as of now, the greatest live scores first, cut to a screen.
func (t *liveTable) draw(now int64, width, height int) string {
	type place struct {
		holder string
		live   hold.Amount
	}
	places := make([]place, 0, len(t.lines))
	for holder, l := range t.lines {
		places = append(places, place{holder, l.at(now)})
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := b.live.Score.Cmp(a.live.Score); c != 0 {
			return c
		}
		return strings.Compare(a.holder, b.holder)
	})
	shown := places[:min(len(places), max(1, height-3))]
	var b bytes.Buffer
	state := ""
	if !t.complete {
		state = ", reading"
	}
	if t.note != "" {
		state += ", " + t.note
	}
	fmt.Fprintf(&b, "%d of %d holders%s, as of %s; Ctrl-C ends\n", len(shown), len(places), state, time.Unix(0, now).UTC().Format("15:04:05Z"))
	rows, err := printing.NewRowWriter(&b, "table", []string{"rank", "holder_id", "score", "held_seconds", "settled_score"})
	for i := 0; err == nil && i < len(shown); i++ {
		p := &shown[i]
		err = rows.Write(fmt.Sprint(i+1), p.holder, p.live.Score.String(), p.live.Held.String(), t.lines[p.holder].settled)
	}
	if err == nil {
		err = rows.Close()
	}
	if err != nil {
		return err.Error() // a buffer takes everything
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if r := []rune(line); len(r) > width {
			lines[i] = string(r[:max(0, width-1)]) + "…"
		}
	}
	return strings.Join(lines, "\n")
}
