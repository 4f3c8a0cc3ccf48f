package httpapi

import (
	"encoding/json"
	"net/http"
)

// Starting answers while a process starts: it is healthy, and ready for nothing yet.
// reason returns what it waits for.
func Starting(reason func() error) http.Handler {
	return Secured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			writeProblem(w, problem{status: http.StatusServiceUnavailable, message: reason().Error(), retry: true})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"status": "healthy"}) //nolint:errcheck // the client is gone
	}))
}
