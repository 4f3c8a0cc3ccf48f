package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/internal/reqid"
)

// corsMaxAge is how long a browser may keep the answer to a preflight, in seconds.
const corsMaxAge = "600"

// corsHeaders are what pages of other origins may send beside what every request may
// have. A client of SSE that is not a browser's own sends Last-Event-ID by itself.
const corsHeaders = "Accept, Authorization, Cache-Control, Content-Type, Last-Event-ID"

// cors lets pages of other origins read: the watch, and the answers in JSON. They may
// not send events. It is nil if no origin is allowed.
type cors struct {
	origins []string
	reads   map[string]bool // patterns of the mux
}

// newCORS returns what lets pages of origins read what an API has to read.
func newCORS(origins []string, api *huma.OpenAPI) *cors {
	if len(origins) == 0 {
		return nil
	}
	c := &cors{origins: origins, reads: map[string]bool{"GET /openapi.json": true}}
	for path, item := range api.Paths {
		if item.Get != nil {
			c.reads["GET "+path] = true
		}
	}
	return c
}

// serve adds to the answer of a read what allows its origin, and answers a preflight.
// It reports whether the request is answered.
func (c *cors) serve(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) (answered bool) {
	if c == nil {
		return false
	}
	preflight := r.Method == http.MethodOptions
	if preflight || r.Method == http.MethodHead {
		get := *r
		get.Method = http.MethodGet
		r = &get
	}
	if _, pattern := mux.Handler(r); !c.reads[pattern] {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin") // also if this origin is not allowed: another one may be
	origin := r.Header.Get("Origin")
	if !slices.Contains(c.origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	asked := r.Header.Get("Access-Control-Request-Method")
	if !preflight || asked == "" {
		h.Set("Access-Control-Expose-Headers", "Retry-After, "+reqid.Header)
		return false
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// ErrOrigin means that a text is not the origin of a page as browsers send it.
var ErrOrigin = errors.New("is not an origin such as https://example.com")

// CheckOrigin returns an error that matches [ErrOrigin] unless a text is an origin as
// browsers send it: a scheme and a host in lower case, and a port that is not the
// scheme's own.
func CheckOrigin(text string) error {
	u, err := url.Parse(text)
	wrong := ""
	switch {
	case text == "*":
		wrong = "name each origin"
	case err != nil || u.Scheme == "" || u.Host == "":
		wrong = "write the scheme, //, and the host"
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(text, "?#"):
		wrong = "leave out what is not the scheme, the host or the port"
	case u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443":
		wrong = "leave out the port, as browsers do"
	case text != strings.ToLower(text):
		wrong = "browsers send it in lower case"
	case text != u.Scheme+"://"+u.Host:
		wrong = "write the scheme, //, and the host"
	}
	if wrong == "" {
		return nil
	}
	return fmt.Errorf("%q %w: %s", text, ErrOrigin, wrong)
}
