package gateway

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// The web page, as it is sent: no build step, nothing of it from elsewhere.
//
//go:embed web
var webFiles embed.FS

// pagePolicy lets the page load and ask what this server has, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// webTypes are the content types by extension; a system's own table of them must
// not decide what a browser runs.
var webTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// addPage serves the page at / and its parts below /web/.
func addPage(mux *http.ServeMux) error {
	return fs.WalkDir(webFiles, "web", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := webFiles.ReadFile(name)
		if err != nil {
			return err
		}
		kind := webTypes[path.Ext(name)]
		if kind == "" {
			return fmt.Errorf("%s: no content type for its extension", name)
		}
		pattern := "GET /" + name
		if name == "web/index.html" {
			pattern = "GET /{$}"
		}
		mux.Handle(pattern, pagePart(path.Base(name), kind, body))
		return nil
	})
}

// pagePart serves one file. A browser keeps it and asks each time whether it is
// still the same, so the parts of a page are always of one version.
func pagePart(name, kind string, body []byte) http.Handler {
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}
