package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/intake"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

const (
	// holdsPieceLines is how many lines go to the producer at once.
	holdsPieceLines = 1024
	// holdsInFlight is how many pieces of one body may wait for the log. With what
	// their refusals take it bounds the memory of a request; the events
	// themselves are in the producer, which bounds them.
	holdsInFlight = 16
)

// mostEmpty is how many empty lines a body may have beside those of events: a line takes
// a byte, of which compression leaves next to nothing.
const mostEmpty = 1 << 20

// errEmptyLines ends a body of nothing.
var errEmptyLines = fmt.Errorf("the body has more than %d empty lines: send events", mostEmpty)

var errLineTooLong = fmt.Errorf("%w: the line is longer than %d bytes", ingest.ErrMalformed, MaxLineBytes)

// holdsIntake takes one body of POST /holds to the log.
//
//	body ──▶ lines ──decode──▶ piece ──▶ producer ──▶ done
//	                             └── line of pieces ──▶ answer, in order
//
// One goroutine does all of it but the producer's part. It reads while there are
// fewer than holdsInFlight pieces on their way, and waits for the first of them otherwise.
type holdsIntake struct {
	s      *Server
	ctx    context.Context
	body   *holdsBody
	lines  lineReader
	reader ingest.JSONReader // of a line
	events *intake.Stream
	// ignored counts the fields that reader passed over.
	ignored int
	line    uint64       // last one that was cut
	empty   int          // lines so far that are
	drafts  []hold.Draft // of the piece that is filled; their strings are in the buffer of lines

	flight []*holdsPiece // in the order of the body
	spare  []*holdsPiece
	alarm  atomic.Bool // a piece has failed: send no more
	failed *problem    // why the body was not taken to its end
	resume uint64      // with failed: first line that has no answer

	summary HoldsSummary
	answer  holdsAnswer
}

// holdsPiece is some lines of a body on their way to the log.
type holdsPiece struct {
	first, last uint64      // lines
	bytes       int         // of the lines, but for empty ones
	lines       []uint64    // of each draft that was sent
	refused     []HoldsLine // and those with a note
	noted       int

	// Filled in by the producer, before done.
	accepted int
	position uint64
	failed   error  // of the log
	failedAt uint64 // line
	done     chan struct{}
}

// run returns when the fate of every line is known, or failed says why it is not.
func (in *holdsIntake) run() {
	for in.failed == nil && !in.alarm.Load() && in.answer.err == nil && in.ctx.Err() == nil {
		if p := in.cut(); p != nil {
			in.send(p)
			in.settle(holdsInFlight - 1)
			continue
		}
		if in.lines.err != nil {
			break
		}
		if in.empty > mostEmpty {
			in.lines.err = errEmptyLines
			break
		}
		in.settleDone()
		in.lines.fill()
	}
	in.s.countIgnored(intake.PostHolds, in.ignored)
	if err := in.ctx.Err(); err != nil && in.lines.err == nil {
		in.lines.err = err
	}
	unread := in.failed == nil && in.lines.err != nil && in.lines.err != io.EOF
	in.settle(0)
	if unread && in.failed == nil {
		f := in.body.failure(in.lines.err)
		in.failed, in.resume = &f, in.line+1
	}
}

// cut makes a piece of the lines in the buffer, or returns nil where there are none.
func (in *holdsIntake) cut() *holdsPiece {
	p := in.fresh()
	clear(in.drafts)
	in.drafts = in.drafts[:0]
	for len(p.lines)+len(p.refused) < holdsPieceLines {
		line, tooLong, ok := in.lines.next()
		if !ok {
			break
		}
		in.line++
		if p.first == 0 {
			p.first = in.line
		}
		p.last = in.line
		if tooLong {
			in.refuse(p, errLineTooLong)
			continue
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			in.empty++
			continue
		}
		p.bytes += len(line)
		in.drafts = append(in.drafts, hold.Draft{})
		if err := in.reader.Decode(line, &in.drafts[len(in.drafts)-1]); err != nil {
			in.drafts = in.drafts[:len(in.drafts)-1]
			in.refuse(p, err)
			continue
		}
		p.lines = append(p.lines, in.line)
	}
	if p.first == 0 || len(p.lines)+len(p.refused) == 0 {
		in.spare = append(in.spare, p)
		if p.first == 0 {
			return nil
		}
		return in.cut() // empty lines only
	}
	return p
}

func (in *holdsIntake) fresh() *holdsPiece {
	n := len(in.spare)
	if n == 0 {
		return &holdsPiece{done: make(chan struct{}, 1)}
	}
	p := in.spare[n-1]
	in.spare = in.spare[:n-1]
	clear(p.refused)
	*p = holdsPiece{lines: p.lines[:0], refused: p.refused[:0], done: p.done}
	return p
}

// refuse notes a line that is no event.
func (in *holdsIntake) refuse(p *holdsPiece, err error) {
	in.s.cfg.Intake.Observed(in.ctx, intake.PostHolds, err)
	p.refused = append(p.refused, refusedLine(in.line, err))
}

// refusedLine copies what an error says: its field may be a name in the body,
// and a part of the buffer.
func refusedLine(line uint64, err error) HoldsLine {
	f := asProblem(err)
	return HoldsLine{Line: line, Field: strings.Clone(f.field), Error: strings.Clone(f.message)}
}

// send hands a piece to the producer, which has encoded it when this returns.
func (in *holdsIntake) send(p *holdsPiece) {
	in.flight = append(in.flight, p)
	if err := auth.CallerOf(in.ctx).Sends(len(in.drafts)+len(p.refused), p.bytes); err != nil {
		p.failed, p.failedAt = err, p.first
		in.alarm.Store(true)
		p.done <- struct{}{}
		return
	}
	observer, alarm := in.s.cfg.Intake.Observer(), &in.alarm
	in.events.SendBatch(in.ctx, in.drafts, func(r intake.Batch) {
		observer.Accepted(intake.PostHolds, r.Accepted)
		p.accepted, p.position = r.Accepted, r.Position
		for _, refusal := range r.Refused {
			in.s.cfg.Intake.Observed(in.ctx, intake.PostHolds, refusal.Err)
			line := p.lines[refusal.Index]
			switch {
			case failure.Refused(refusal.Err):
				p.refused = append(p.refused, refusedLine(line, refusal.Err))
			case p.failed == nil:
				p.failed, p.failedAt = refusal.Err, line
				alarm.Store(true)
			}
		}
		for _, note := range r.Notes {
			p.refused = append(p.refused, HoldsLine{Line: p.lines[note.Index], Note: note.Text})
		}
		p.noted = len(r.Notes)
		slices.SortFunc(p.refused, func(a, b HoldsLine) int { return int(a.Line) - int(b.Line) })
		p.done <- struct{}{}
	})
}

// settleDone writes the answers that are there, without waiting for any.
func (in *holdsIntake) settleDone() {
	for len(in.flight) > 0 {
		select {
		case <-in.flight[0].done:
			in.settleFirst()
		default:
			return
		}
	}
}

// settle waits until no more than so many pieces are in flight, each for
// StreamWait at most.
func (in *holdsIntake) settle(most int) {
	in.settleDone()
	for len(in.flight) > most && in.answer.err == nil {
		patience := time.NewTimer(in.s.cfg.StreamWait)
		var err error
		select {
		case <-in.flight[0].done:
			in.settleFirst()
		case <-in.ctx.Done():
			err = context.Cause(in.ctx)
		case <-patience.C:
			err = in.s.cfg.Intake.WhySlow(in.ctx, intake.ErrSlow)
		}
		patience.Stop()
		if err != nil {
			// What is still in flight is left to the producer; nobody reads it.
			in.fail(err, in.flight[0].first)
			in.flight = nil
		}
	}
}

// settleFirst takes over what became of the first piece.
func (in *holdsIntake) settleFirst() {
	p := in.flight[0]
	in.flight = slices.Delete(in.flight, 0, 1)
	in.summary.Accepted += uint64(p.accepted)
	in.summary.Refused += uint64(len(p.refused) - p.noted)
	in.summary.Noted += uint64(p.noted)
	in.summary.Position = max(in.summary.Position, p.position)
	for i := range p.refused {
		in.answer.add(&p.refused[i])
	}
	if p.failed != nil {
		in.fail(p.failed, p.failedAt)
	}
	in.spare = append(in.spare, p)
}

// fail keeps the first failure.
func (in *holdsIntake) fail(err error, line uint64) {
	if in.failed == nil {
		if in.ctx.Err() != nil { // the client left; the producer calls that busy
			err = context.Cause(in.ctx)
		}
		f := asProblem(err)
		if f.status == http.StatusInternalServerError {
			in.s.failed(in.ctx, err)
		}
		in.failed, in.resume = &f, line
	}
}
