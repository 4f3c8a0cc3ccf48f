package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"holdmetrics/hold"
)

// problem is an error answer as RFC 9457 has it.
func (f *failure) problem(location string) *huma.ErrorModel {
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
func (g *Gateway) fail(err error, location string) error {
	f := failureOf(err)
	if f.status == http.StatusInternalServerError {
		g.log.Error("HTTP request failed", zap.Error(err))
	}
	p := f.problem(location)
	if !f.retry {
		return p
	}
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfterHeader()}})
}

func retryAfterHeader() string { return strconv.Itoa(int(retryAfter.Seconds())) }

// writeProblem answers where huma does not.
func writeProblem(w http.ResponseWriter, f failure) { writeProblemAt(w, f, "") }

// writeProblemAt does, where the error may name a field of a part of the request.
func writeProblemAt(w http.ResponseWriter, f failure, location string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if f.retry {
		w.Header().Set("Retry-After", retryAfterHeader())
	}
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(f.problem(location)) //nolint:errcheck // the client is gone
}

// writeJSON answers with one object.
func (g *Gateway) writeJSON(w http.ResponseWriter, body any) {
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
