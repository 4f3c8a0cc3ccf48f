package httpapi

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"holdmetrics/internal/reqid"
	"holdmetrics/internal/tracing"
)

// tracedPatterns returns the route of each pattern of the mux whose requests are traced:
// those of the API, but for the probes of health, which would hide the others.
func tracedPatterns(api *huma.OpenAPI) map[string]string {
	routes := map[string]string{}
	for path, item := range api.Paths {
		if path == "/healthz" || path == "/readyz" {
			continue
		}
		for method, of := range map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete} {
			if of != nil {
				routes[method+" "+path] = path
			}
		}
	}
	return routes
}

// identify gives a request an id, which its answer has too, and the span of a sampled
// trace; nil: it is not traced.
func (s *Server) identify(r *http.Request, answer http.ResponseWriter, pattern string, traced map[string]string) (*http.Request, trace.Span) {
	id := s.cfg.RequestIDs.Choose(r.Header.Values(reqid.Header))
	answer.Header().Set(reqid.Header, id)
	ctx := reqid.With(r.Context(), id)
	route, known := traced[pattern]
	if s.cfg.Tracer == nil || !known {
		return r.WithContext(ctx), nil
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	ctx, span := s.cfg.Tracer.Server(ctx, pattern, propagation.HeaderCarrier(r.Header),
		tracing.HTTPMethod.String(r.Method), tracing.HTTPRoute.String(route), tracing.URLPath.String(strings.ToValidUTF8(r.URL.Path, "?")), tracing.URLScheme.String(scheme),
		tracing.ClientAddress.String(client), tracing.RequestID.String(id))
	return r.WithContext(ctx), span
}

// endSpan ends the span of a request. What the client is to blame for is no error of
// ours.
func endSpan(span trace.Span, status int) {
	if span == nil {
		return
	}
	span.SetAttributes(tracing.HTTPStatus.Int(status))
	if status >= http.StatusInternalServerError {
		span.SetAttributes(tracing.ErrorType.String(strconv.Itoa(status)))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
