package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
)

// holdsAnswer is the answer of POST /holds, kept up to heldAnswer bytes (which
// says why) and written from there on.
type holdsAnswer struct {
	w    http.ResponseWriter
	held bytes.Buffer
	out  *bufio.Writer // nil: not begun
	err  error         // the client does not take it
}

// add appends a line.
func (a *holdsAnswer) add(line any) {
	if a.err != nil {
		return
	}
	text, err := json.Marshal(line)
	if err != nil {
		a.err = err
		return
	}
	text = append(text, '\n')
	if a.out != nil {
		_, a.err = a.out.Write(text)
		return
	}
	a.held.Write(text)
	if a.held.Len() > heldAnswer {
		a.begin()
	}
}

// begin writes what was kept.
func (a *holdsAnswer) begin() {
	http.NewResponseController(a.w).EnableFullDuplex() //nolint:errcheck // HTTP/2 needs no asking
	a.w.Header().Set("Content-Type", ndjson)
	a.w.WriteHeader(http.StatusOK)
	a.out = bufio.NewWriterSize(a.w, answerBuffer)
	_, a.err = a.out.Write(a.held.Bytes())
	a.held = bytes.Buffer{}
}

// finish writes the last line, or the problem that there is instead of an answer.
func (a *holdsAnswer) finish(in *holdsIntake) error {
	if in.failed != nil && a.out == nil && (in.summary.Accepted == 0 || in.failed.status == statusClientGone) {
		writeProblem(a.w, *in.failed)
		return nil
	}
	if in.failed != nil {
		in.summary.Error, in.summary.ResumeAt = in.failed.message, in.resume
	}
	a.add(&in.summary)
	if a.out == nil && a.err == nil {
		a.w.Header().Set("Content-Type", ndjson)
		_, a.err = a.w.Write(a.held.Bytes())
		return a.err
	}
	if a.out == nil {
		return a.err
	}
	if a.err == nil {
		a.err = a.out.Flush()
	}
	return a.err
}
