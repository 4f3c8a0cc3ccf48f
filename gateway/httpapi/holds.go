package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"holdmetrics/gateway/intake"
	"holdmetrics/ingest/times"
)

// MaxLineBytes is the longest line that POST /holds takes, without its newline.
const MaxLineBytes = MaxBodyBytes

const ndjson = "application/x-ndjson"

const holdsExample = `{"token_id":"pool","holder_id":"alice","start":"2023-05-01T12:00:00Z","end":"2023-05-02T12:00:00Z","weight":2.5}
{"token_id":"pool","holder_id":"bob","start":1682942400,"weight_exact":"12.000000000000000001"}
`

// holdsInput takes no body, so that huma leaves it to be streamed.
type holdsInput struct {
	ContentEncoding string `header:"Content-Encoding" enum:"gzip,identity" doc:"How the body is compressed"`
}

// HoldsLine is a line of the answer of POST /holds: every one but the last is
// about an event that was refused, or has a note.
type HoldsLine struct {
	Line  uint64 `json:"line" doc:"Of the body, counted from 1; empty lines count" example:"2"`
	Field string `json:"field,omitempty" doc:"The field that is wrong; absent where it is no single one" example:"holder_id"`
	Error string `json:"error,omitempty" doc:"What is wrong; absent where the event was accepted" example:"holder_id is required"`
	Note  string `json:"note,omitempty" doc:"Why an accepted event changes nothing, where that is known" example:"changes nothing: revision 2 of this hold_id takes precedence; send a greater revision"`
}

// HoldsSummary is the last line.
type HoldsSummary struct {
	Accepted uint64 `json:"accepted" doc:"Events that the log has" example:"99999"`
	Refused  uint64 `json:"refused" doc:"Lines that were refused; each has a line of its own above" example:"1"`
	Noted    uint64 `json:"noted,omitempty" doc:"Accepted events that are known to change nothing; each has a line of its own above" example:"1"`
	Position uint64 `json:"position" doc:"The greatest position of the log that holds one of the events; 0: none. Reads take it as after" example:"42"`
	Error    string `json:"error,omitempty" doc:"Why the body was not taken to its end. Absent: it was"`
	ResumeAt uint64 `json:"resume_at,omitempty" doc:"With error: the first line to send again. Later ones may be accepted too; sending them twice is harmless"`
}

// heldAnswer is how long the answer may become before it is begun.
//
// HTTP/1 clients commonly send the whole body before they read; curl and most
// libraries do. A server that writes meanwhile runs full, and both wait for one
// another. So refusals are kept until the body is read, which also leaves the
// status open, and a busy log can still be reported as one. What is kept is
// bounded: an answer that grows beyond it is begun (with full duplex, or
// net/http would first throw the rest of the body away), and goes on while the
// body is read. A client that then does not read is held back by flow control, and
// cut off after Config.SendStall.
const heldAnswer = 256 << 10

func (s *Server) addHolds(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	event := schemas.Schema(reflect.TypeFor[holdBody](), true, "HoldBody")
	line := schemas.Schema(reflect.TypeFor[HoldsLine](), true, "HoldsLine")
	summary := schemas.Schema(reflect.TypeFor[HoldsSummary](), true, "HoldsSummary")
	huma.Register(api, huma.Operation{
		OperationID: "record-holds",
		Method:      http.MethodPost,
		Path:        "/holds",
		Summary:     "Record many hold events",
		Description: "NDJSON in, NDJSON out: each line of the body is an event as POST /hold takes it, of at most 64 KiB; the body may have any length, and may be compressed with gzip. " +
			"Empty lines are skipped. A bad line is refused by itself and its neighbours go on. A time needs a zone. " +
			"A body that unpacks to very many times its size, or has a million empty lines, is cut short with 413. " +
			"The answer has a HoldsLine for each refused line and for each accepted event with a note, in order, then one HoldsSummary: its last line, to be read in any case. It comes when the log has every event that was accepted. " +
			"Where the log fails before any event was accepted, the answer is 429 or 503; after that it is 200, and the summary has an error. Sending anything again is harmless. " +
			"Answers of more than 256 KiB begin while the body is still read: a client that may have that many refusals reads while it sends.",
		Responses: map[string]*huma.Response{"200": {
			Description: "A HoldsLine for each line that was refused or has a note, then one HoldsSummary",
			Content:     map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{AnyOf: []*huma.Schema{line, summary}}}},
		}},
		SkipValidateParams: true, // an unknown encoding is 415, not 422
		Errors: []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
			http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, func(ctx context.Context, _ *holdsInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			r, w := humago.Unwrap(hctx)
			s.postHolds(ctx, w, r)
		}}, nil
	})
	// Afterwards, or huma would read the body itself.
	api.OpenAPI().Paths["/holds"].Post.RequestBody = &huma.RequestBody{
		Description: "One event a line", Required: true,
		Content: map[string]*huma.MediaType{ndjson: {
			Schema:   event,
			Examples: map[string]*huma.Example{"lines": {Summary: "Two events, one a line", Value: holdsExample}},
		}},
	}
}

// places are how many of a thing there may be at once.
type places chan struct{}

// tryTake takes a place, and reports whether there was one.
func (p places) tryTake() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

// give gives a place back.
func (p places) give() { <-p }

// postHolds takes a body and answers it.
func (s *Server) postHolds(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if !s.bodies.tryTake() {
		writeProblem(w, problem{status: http.StatusTooManyRequests, retry: true,
			message: fmt.Sprintf("%d bodies are read already, and that is the most: retry later, or send fewer at once", cap(s.bodies))})
		return
	}
	defer s.bodies.give()
	body, bad := openBody(ctx, w, r, s.cfg.Unpack)
	if bad != nil {
		writeProblem(w, *bad)
		return
	}
	in := &holdsIntake{
		s: s, ctx: ctx, body: body,
		lines:  lineReader{r: body, buf: make([]byte, lineBuffer)},
		answer: holdsAnswer{w: w},
	}
	in.reader, in.events = s.eventReader(times.Reader{}, &in.ignored), s.cfg.Intake.Stream(ctx, intake.PostHolds)
	in.run()
	body.release(in.failed == nil)
	if err := in.answer.finish(in); err != nil {
		// Half an answer must not be taken for the whole.
		panic(http.ErrAbortHandler)
	}
}
