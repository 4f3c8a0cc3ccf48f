package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A server that asks for a key gets it from the page, which has it typed once.
func TestPageWithAKey(t *testing.T) {
	s := start(t, t.TempDir())
	send(t, s, event(map[string]any{"token_id": "GOLD", "holder_id": "alice", "start": "2026-01-01T00:00:00Z", "weight": 2.5}))
	behind, err := url.Parse(s.http)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }}
	var refused, inURL atomic.Int64
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.String(), "sesame") || strings.Contains(r.Referer(), "sesame") || len(r.Cookies()) > 0 {
			inURL.Add(1)
		}
		open := r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/web/")
		if open || r.Header.Get("Authorization") == "Bearer sesame" {
			proxy.ServeHTTP(w, r)
			return
		}
		refused.Add(1)
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": 401, "detail": "this call needs a key"})
	}))
	defer guarded.Close()

	p := openTab(t, guarded.URL)
	p.expectAbsence(true) // the browser logs what was refused
	p.open("")
	p.await(t, "the question", `!document.getElementById('access').hidden && document.activeElement.id === 'access-key'`)
	p.picture(t, "asks")
	if n := refused.Load(); n > 6 {
		t.Errorf("%d calls before there is a key", n)
	}
	before := refused.Load()
	p.do(chromedp.KeyEvent("wrong"), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the refusal", `document.getElementById('access-why').textContent.includes('was not taken: this call needs a key')`)
	if refused.Load() == before {
		t.Error("the key was not tried")
	}
	p.do(chromedp.KeyEvent("two words"), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the complaint", `document.getElementById('access-why').textContent.includes('one word')`)

	p.do(chromedp.KeyEvent("sesame"), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the board", `document.querySelector('.board tbody tr')?.dataset.holder === 'alice' && document.getElementById('access').hidden`)
	p.expectAbsence(false)
	p.picture(t, "with-key")
	// The watch has it too.
	send(t, s, event(map[string]any{"token_id": "GOLD", "holder_id": "carol", "start": "1980-01-01T00:00:00Z", "weight": 1000}))
	p.await(t, "carol to lead by herself", `document.querySelector('.board tbody tr')?.dataset.holder === 'carol'`)
	// It is in the memory of the tab alone.
	kept := value[string](t, p, `JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, location.href, document.documentElement.outerHTML, history.state])`)
	if strings.Contains(kept, "sesame") || inURL.Load() > 0 {
		t.Errorf("the key is kept: %s", kept)
	}
	p.do(chromedp.Evaluate[chromedp.Void](`void (location.hash = '#/holder/alice')`))
	p.await(t, "a holder", `document.querySelector('#score .figure')`)
	// A file comes with the key too.
	saved := value[string](t, p, `new Promise(done => { const real = URL.createObjectURL; URL.createObjectURL = b => { b.text().then(done); return real.call(URL, b); };
		[...document.querySelectorAll('main header.bar a')].find(a => a.textContent === 'CSV' && a.href.includes('history')).click(); })`)
	if !strings.HasPrefix(saved, "as_of,") {
		t.Errorf("the file is %.100q", saved)
	}
	p.nothingWrong(t)

	p.expectAbsence(true)
	p.do(chromedp.Evaluate[chromedp.Void](`void document.getElementById('access-open').click()`))
	p.await(t, "the question again", `!document.getElementById('access').hidden && document.getElementById('access-open').textContent === 'Use a key'`)
}
