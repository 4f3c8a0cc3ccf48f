// Package web is the page at /: plain HTML, CSS and JavaScript modules, served
// without a build step. The page reads the HTTP API as any other client does.
package web

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

// files is the page as it is served. It loads nothing from other hosts.
//
//go:embed *.html *.css *.js *.svg
var files embed.FS

// policy restricts the page to what this server has.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are the content types by extension. The system's own table must not
// decide what a browser runs.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Register adds the page at / and its parts below /web/ to a mux.
func Register(mux interface {
	Handle(pattern string, h http.Handler)
}) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		kind := contentTypes[path.Ext(name)]
		if kind == "" {
			return fmt.Errorf("%s: no content type for its extension", name)
		}
		pattern := "GET /web/" + name
		if name == "index.html" {
			pattern = "GET /{$}"
		}
		mux.Handle(pattern, part(name, kind, body))
		return nil
	})
}

// part serves one file. A browser caches it and revalidates it on each load, so all
// parts of a page are of one version.
func part(name, kind string, body []byte) http.Handler {
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}
