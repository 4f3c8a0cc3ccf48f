package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"holdmetrics/gateway/failure"
	"holdmetrics/hold"
	"holdmetrics/internal/logs"
	"holdmetrics/internal/reqid"
)

// statusClientGone is the status in the metrics when the client left before its
// answer. Nobody reads it from the wire.
const statusClientGone = 499

// httpStatuses are the status codes of HTTP by the kind of a failure.
var httpStatuses = map[failure.Kind]int{
	failure.Internal:     http.StatusInternalServerError,
	failure.Invalid:      http.StatusUnprocessableEntity,
	failure.Sealed:       http.StatusUnprocessableEntity,
	failure.NotFound:     http.StatusNotFound,
	failure.NoStore:      http.StatusNotImplemented,
	failure.Stale:        http.StatusGatewayTimeout,
	failure.Busy:         http.StatusTooManyRequests,
	failure.CursorGone:   http.StatusGone,
	failure.Stalled:      http.StatusRequestTimeout,
	failure.Unavailable:  http.StatusServiceUnavailable,
	failure.Canceled:     statusClientGone,
	failure.DeadlineOver: http.StatusGatewayTimeout,

	failure.Unauthenticated: http.StatusUnauthorized,
	failure.Denied:          http.StatusForbidden,
	failure.NoMethod:        http.StatusNotFound,
}

// problem is an error answer of HTTP.
type problem struct {
	status  int
	field   string
	message string
	retry   bool
	after   time.Duration // with retry: how long to wait; 0: failure.RetryAfter
}

// asProblem classifies an error.
func asProblem(err error) problem {
	f := failure.Of(err)
	return problem{status: httpStatuses[f.Kind], field: f.Field, message: f.Message, retry: f.Retry, after: f.After}
}

// document is the problem as RFC 9457 has it.
func (f *problem) document(location string) *huma.ErrorModel {
	p := &huma.ErrorModel{Status: f.status, Title: http.StatusText(f.status), Detail: f.message}
	if f.status == statusClientGone {
		p.Title = "Client Closed Request"
	}
	if f.field != "" {
		p.Errors = []*huma.ErrorDetail{{Message: f.message, Location: location + "." + f.field}}
	}
	return p
}

// fail gives a huma handler the error to return. location is the part of the
// request whose fields the error may name: body, query or path.
func (s *Server) fail(ctx context.Context, err error, location string) error {
	f := asProblem(err)
	if f.status == http.StatusInternalServerError {
		s.failed(ctx, err)
	}
	p := f.document(location)
	if f.status == http.StatusUnauthorized {
		return huma.ErrorWithHeaders(p, http.Header{"Www-Authenticate": {challenge}})
	}
	if !f.retry {
		return p
	}
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {f.retryAfter()}})
}

// failed logs an error that only a programmer can mend.
func (s *Server) failed(ctx context.Context, err error) {
	s.cfg.Logger.Error("HTTP request failed", append(logs.Request(ctx), zap.Error(err))...)
}

// problemDocument is a problem with the id of its request.
type problemDocument struct {
	huma.ErrorModel
	RequestID string `json:"request_id,omitempty"`
}

// identify adds the id of the request to a problem that is the answer.
func identify(ctx huma.Context, _ string, answer any) (any, error) {
	if p, ok := answer.(*huma.ErrorModel); ok {
		return &problemDocument{*p, reqid.Of(ctx.Context())}, nil
	}
	return answer, nil
}

// documentRequestID has the OpenAPI document say what identify adds.
func documentRequestID(api huma.API) {
	if model := api.OpenAPI().Components.Schemas.Map()["ErrorModel"]; model != nil {
		model.Properties["request_id"] = &huma.Schema{Type: huma.TypeString, Description: "Names the request in the log of the server; the header X-Request-Id of the answer has it too"}
	}
}

// retryAfter is the value of the header Retry-After: whole seconds, rounded up.
func (f *problem) retryAfter() string {
	after := f.after
	if after <= 0 {
		after = failure.RetryAfter
	}
	return strconv.Itoa(int((after + time.Second - 1) / time.Second))
}

// writeProblem answers where huma does not.
func writeProblem(w http.ResponseWriter, f problem) { writeProblemAt(w, f, "") }

// writeProblemAt is writeProblem for an error that may name a field of a part of
// the request.
func writeProblemAt(w http.ResponseWriter, f problem, location string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if f.status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if f.retry {
		w.Header().Set("Retry-After", f.retryAfter())
	}
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(problemDocument{*f.document(location), w.Header().Get(reqid.Header)}) //nolint:errcheck // the client is gone
}

// writeJSON answers with one object.
func (s *Server) writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client is gone
}

// httpField renames the field that an error names, where the query calls it
// otherwise than the message of gRPC.
func httpField(err error, from, to string) error {
	var field *hold.FieldError
	if !errors.As(err, &field) || field.Field != from {
		return err
	}
	renamed := *field
	renamed.Field = to
	return &renamed
}
