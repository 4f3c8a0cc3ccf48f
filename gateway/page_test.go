package gateway

import (
	"bytes"
	"net/http"
	"testing"
)

// TestPageLeavesOtherPathsAlone: / is the page and nothing below it but its parts.
func TestPageLeavesOtherPathsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, p := range []string{"/index.html", "/web", "/web/", "/web/index.html", "/web/nothing.js", "/nothing"} {
		resp, body := do(t, http.MethodGet, w.url+p, "")
		if resp.StatusCode != 404 {
			t.Errorf("GET %s: %d", p, resp.StatusCode)
			continue
		}
		problemOf(t, resp, body)
	}
	if resp, _ := do(t, http.MethodPost, w.url+"/", ""); resp.StatusCode != 405 {
		t.Errorf("POST /: %d", resp.StatusCode)
	}
	if page := get(t, w, "/docs", 200); !bytes.Contains(page, []byte("POST /hold")) {
		t.Error("/docs is not the documentation")
	}
}
