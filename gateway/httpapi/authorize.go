package httpapi

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/auth"
)

// challenge says how a client proves who it is.
const challenge = `Bearer realm="holdmetrics"`

// streaming are the routes whose requests may stay open for long.
var streaming = map[string]bool{"POST /holds": true, "GET /stats/watch": true}

// authorize returns a request with its caller, and what to call when it is over. If the
// caller may not have it, the answer is written and the request is nil.
func authorize(names *auth.Authenticator, w http.ResponseWriter, r *http.Request, pattern string) (called *http.Request, over func()) {
	ask := auth.Request{Call: pattern, From: r.RemoteAddr}
	ask.Authorization, ask.Certificate = r.Header.Values("Authorization"), certificateOf(r)
	need := auth.RouteNeed(pattern)
	if need == auth.Unknown {
		ask.Call = "none"
	}
	caller, err := names.Authorize(r.Context(), ask, need, true)
	ctx, over := r.Context(), func() {}
	if err == nil && streaming[pattern] {
		ctx, over, err = caller.OpenStream(ctx)
	}
	if err != nil {
		writeProblem(w, refusedProblem(w, err))
		return nil, nil
	}
	return r.WithContext(auth.WithCaller(ctx, caller)), over
}

// certificateOf returns the certificate of a client that TLS has verified, or nil.
func certificateOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// refusedProblem is a refusal as an answer, whose headers say how to ask; see RFC 6750.
func refusedProblem(w http.ResponseWriter, err error) problem {
	p := asProblem(err)
	refused := (*auth.RefusedError)(nil)
	if !errors.As(err, &refused) {
		return p
	}
	switch refused.Reason {
	case auth.Invalid, auth.Expired:
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	case auth.Scoped:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s, error="insufficient_scope", scope=%q`, challenge, refused.Scope.String()))
	}
	return p
}

// secure says in the OpenAPI document which operations need a key or a token.
func secure(api *huma.OpenAPI) {
	const scheme = "bearer"
	if api.Components.SecuritySchemes == nil {
		api.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	api.Components.SecuritySchemes[scheme] = &huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: "A key that 'holdmetrics keys create' made, or a JWT"}
	for path, item := range api.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post} {
			if op == nil {
				continue
			}
			need := auth.RouteNeed(method + " " + path)
			if need == auth.Nothing {
				continue
			}
			op.Security = []map[string][]string{{scheme: {need.String()}}}
			for status, text := range map[string]string{"401": "No key or token came, or it is not valid", "403": "The key lacks a scope, or is narrowed to other tokens or holders"} {
				if op.Responses[status] == nil {
					op.Responses[status] = &huma.Response{Description: text, Content: map[string]*huma.MediaType{"application/problem+json": {}}}
				}
			}
		}
	}
}
