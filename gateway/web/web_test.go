package web

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// serve runs a server that has the page alone.
func serve(t *testing.T) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	if err := Register(mux); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func do(t *testing.T, method, url string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	url := serve(t)
	for file, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/web/page.css": "text/css; charset=utf-8",
		"/web/page.js": "text/javascript; charset=utf-8", "/web/icon.svg": "image/svg+xml",
	} {
		resp, body := do(t, http.MethodGet, url+file)
		if resp.StatusCode != 200 || len(body) == 0 {
			t.Fatalf("%s: %d, %d bytes", file, resp.StatusCode, len(body))
		}
		h := resp.Header
		for name, want := range map[string]string{"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", file, name, got, want)
			}
		}
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy lacks %s: %s", file, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy allows too much: %s", file, policy)
		}

		// A browser that has it is not sent it again.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+file, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", h.Get("ETag"))
		again, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		again.Body.Close()
		if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != h.Get("ETag") || h.Get("ETag") == "" {
			t.Errorf("%s with its ETag: %d", file, again.StatusCode)
		}
		if head, body := do(t, http.MethodHead, url+file); head.StatusCode != 200 || len(body) != 0 {
			t.Errorf("HEAD %s: %d, %d bytes", file, head.StatusCode, len(body))
		}
	}
}

// TestPageIsOfItsOwn: what the parts name is there, and nothing is from elsewhere.
func TestPageIsOfItsOwn(t *testing.T) {
	t.Parallel()
	url := serve(t)
	names := regexp.MustCompile(`(?:src|href)="(web/[^"]*)"|from '\./([^']*)'`)
	elsewhere := regexp.MustCompile(`https?://[^\s'"]*`)
	total := 0
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		total += len(body)
		for _, m := range names.FindAllSubmatch(body, -1) {
			part := "/" + string(m[1])
			if len(m[2]) > 0 {
				part = "/" + path.Join("web", string(m[2]))
			}
			if resp, _ := do(t, http.MethodGet, url+part); resp.StatusCode != 200 {
				t.Errorf("GET %s: %d", part, resp.StatusCode)
			}
		}
		for _, named := range elsewhere.FindAllString(string(body), -1) {
			if named != "http://www.w3.org/2000/svg" { // a name, not an address
				t.Errorf("%s names %s", name, named)
			}
		}
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\""} {
			if bytes.Contains(body, []byte(bad)) {
				t.Errorf("%s has %s", name, bad)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > 128<<10 {
		t.Errorf("the page is %d bytes", total)
	}
}
