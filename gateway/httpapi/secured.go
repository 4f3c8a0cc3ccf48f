package httpapi

import "net/http"

// hsts is how long a browser that has once come over TLS comes by nothing else: a year.
const hsts = "max-age=31536000"

// Secured adds to all answers of a handler what browsers are to keep to: an answer is
// what its content type says, no page shows ours in a frame, and no other site learns
// the address of a page. Over TLS they come by nothing else from then on.
func Secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", hsts)
		}
		next.ServeHTTP(w, r)
	})
}
