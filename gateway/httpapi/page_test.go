package httpapi_test

import (
	"bytes"
	"net/http"
	"testing"

	"holdmetrics/gateway/gatewaytest"
)

// TestPageLeavesOtherPathsAlone: / is the page and nothing below it but its parts.
func TestPageLeavesOtherPathsAlone(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	for _, p := range []string{"/index.html", "/web", "/web/", "/web/index.html", "/web/nothing.js", "/nothing"} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+p, "")
		if resp.StatusCode != 404 {
			t.Errorf("GET %s: %d", p, resp.StatusCode)
			continue
		}
		gatewaytest.ProblemOf(t, resp, body)
	}
	if resp, _ := gatewaytest.Do(t, http.MethodPost, w.Url+"/", ""); resp.StatusCode != 405 {
		t.Errorf("POST /: %d", resp.StatusCode)
	}
	if page := gatewaytest.Get(t, w, "/docs", 200); !bytes.Contains(page, []byte("POST /hold")) {
		t.Error("/docs is not the documentation")
	}
}

// Paths of the original service go on working.
func TestPathsOfTheOriginalService(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	if resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold/", `{"token_id":"t","holder_id":"h","start":5}`); resp.StatusCode != 202 {
		t.Errorf("POST /hold/: %d %s", resp.StatusCode, body)
	}
	if page := gatewaytest.Get(t, w, "/redoc", 200); !bytes.Contains(page, []byte("POST /hold")) {
		t.Error("/redoc is not the documentation")
	}
}
