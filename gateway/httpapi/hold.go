package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/intake"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/times"
)

// holdInput is the request of POST /hold. Its body goes through ingest.JSONReader,
// the one decoder of JSON events; huma only documents it. A time without a zone is
// UTC, as it was in the original service.
type holdInput struct {
	RawBody []byte `contentType:"application/json"`
}

// Resolve runs when the body was read. From here on the client has nothing left to send; a
// deadline that stayed would cancel the request while it waits for the log.
func (*holdInput) Resolve(ctx huma.Context) []error {
	ctx.SetReadDeadline(time.Time{}) //nolint:errcheck // where there is no deadline there is none to clear
	return nil
}

var _ huma.Resolver = (*holdInput)(nil)

// holdBody documents the body of POST /hold.
type holdBody struct {
	TokenID     string    `json:"token_id" doc:"1 to 256 bytes of UTF-8 without control characters" example:"pool"`
	HolderID    string    `json:"holder_id" doc:"The same" example:"alice"`
	Start       eventTime `json:"start,omitempty" doc:"Not in a stop, the retract of one, or a retract by hold_id"`
	End         eventTime `json:"end,omitempty" doc:"Absent: the hold is open. Without a start: a stop"`
	Weight      float64   `json:"weight,omitempty" minimum:"0" doc:"Not given means 1; 0 is 0" example:"2.5"`
	WeightExact string    `json:"weight_exact,omitempty" pattern:"^([0-9]{1,37}([.][0-9]{1,18})?)?$" doc:"Exact decimal; beats weight" example:"2.5"`
	HoldID      string    `json:"hold_id,omitempty" doc:"Names this hold within its pair" example:"lot-7"`
	Revision    uint64    `json:"revision,omitempty" doc:"Of what carries a hold_id; the greatest one counts" example:"1"`
	Retract     bool      `json:"retract,omitempty" doc:"Takes away what the other fields name"`
}

// eventTime documents the forms of a time in JSON.
type eventTime struct{}

// Schema is one of three forms.
func (eventTime) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		// Not one of: a validator that does not look at formats takes the first two for one another.
		AnyOf: []*huma.Schema{
			{Type: huma.TypeString, Format: "date-time", Description: "RFC 3339, up to nine fractional digits; at POST /hold a time without a zone is UTC"},
			{Type: huma.TypeString, Pattern: `^[0-9]+([.][0-9]{1,9})?$`, Description: "unix seconds"},
			{Type: huma.TypeNumber, Description: "unix seconds; read by its digits, not as a double"},
		},
		Examples: []any{"2023-05-01T12:00:00Z"},
	}
}

// holdOutput is the answer of POST /hold.
type holdOutput struct {
	Body struct {
		Status   string `json:"status" enum:"accepted" doc:"The log has the event" example:"accepted"`
		Position uint64 `json:"position" doc:"Of the log, of what holds the event. Reads take it as after" example:"42"`
		Note     string `json:"note,omitempty" doc:"Why the event changes nothing, where that is known: another event of its hold_id takes precedence. Absent promises nothing"`
	}
}

func (s *Server) addHold(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID:      "record-hold",
		Method:           http.MethodPost,
		Path:             "/hold",
		Summary:          "Record a hold event",
		Description:      "Takes a hold, a stop or a retract. The answer comes when the log has the event; sending it again changes nothing. Fields whose name begins with _ are ignored, with --lenient all that no event has; others are refused.",
		DefaultStatus:    http.StatusAccepted,
		SkipValidateBody: true,
		MaxBodyBytes:     MaxBodyBytes + 1, // huma refuses a body of exactly the limit
		BodyReadTimeout:  bodyTimeout,
		Errors: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity,
			http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, s.postHold)
	body := api.OpenAPI().Paths["/hold"].Post.RequestBody
	body.Description = "One event. An empty body is refused as any other that is none."
	body.Required = false // else huma answers 400 before the event's own check can say 422
	body.Content["application/json"] = &huma.MediaType{
		Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[holdBody](), true, "HoldBody"),
		Examples: map[string]*huma.Example{
			"hold":    {Summary: "Held for a day, with a weight", Value: map[string]any{"token_id": "pool", "holder_id": "alice", "start": "2023-05-01T12:00:00Z", "end": "2023-05-02T12:00:00Z", "weight": 2.5}},
			"open":    {Summary: "Held since, exact weight", Value: map[string]any{"token_id": "pool", "holder_id": "bob", "start": 1682942400, "weight_exact": "12.000000000000000001"}},
			"stop":    {Summary: "What was open ends", Value: map[string]any{"token_id": "pool", "holder_id": "bob", "end": "2023-05-03T00:00:00Z"}},
			"retract": {Summary: "A hold by id is taken away", Value: map[string]any{"token_id": "pool", "holder_id": "carol", "hold_id": "lot-7", "revision": 2, "retract": true}},
		},
	}
}

// eventReader returns what reads events in JSON, and counts the fields in ignored that
// no event has and that it passes over.
func (s *Server) eventReader(t times.Reader, ignored *int) ingest.JSONReader {
	return ingest.JSONReader{Times: t.Parse, Lenient: s.cfg.Lenient, Skipped: func(string) { *ignored++ }}
}

// countIgnored counts n fields that were passed over.
func (s *Server) countIgnored(e intake.Endpoint, n int) {
	if n > 0 {
		s.cfg.Observer.FieldsIgnored(e, n)
	}
}

func (s *Server) postHold(ctx context.Context, in *holdInput) (*holdOutput, error) {
	var d hold.Draft
	ignored := 0
	reader := s.eventReader(times.Reader{UTC: true}, &ignored)
	err := auth.CallerOf(ctx).Sends(1, len(in.RawBody))
	if err == nil {
		err = reader.Decode(in.RawBody, &d)
	}
	s.countIgnored(intake.PostHold, ignored)
	r, err := s.cfg.Intake.Record(ctx, intake.PostHold, &d, err)
	if err != nil {
		return nil, s.fail(ctx, err, "body")
	}
	out := &holdOutput{}
	out.Body.Status, out.Body.Position, out.Body.Note = "accepted", r.Position, r.Note
	return out, nil
}
