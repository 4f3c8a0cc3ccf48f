package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A server that asks for a key gets it from the page, which has it typed once.
func TestPageWithAKey(t *testing.T) {
	s := start(t, t.TempDir(), "--auth", "on")
	create := func(name, scopes string) string {
		key := regexp.MustCompile(`hm_\w+`).FindString(run(t, "keys", "create", name, "--scopes", scopes, "--data-dir", s.dir, "--nats-url", s.nats))
		if key == "" {
			t.Fatal("there is no key")
		}
		return key
	}
	key, writer := create("reader", "read"), create("writer", "write")
	send := func(fields map[string]any) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.http+"/holds", strings.NewReader(event(fields)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-ndjson")
		request.Header.Set("Authorization", "Bearer "+writer)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), `"accepted":1`) {
			t.Fatalf("%s %s %v", answer.Status, text, err)
		}
	}
	send(map[string]any{"token_id": "GOLD", "holder_id": "alice", "start": "2026-01-01T00:00:00Z", "weight": 2.5})

	// What comes by the browser is counted on its way.
	behind, err := url.Parse(s.http)
	if err != nil {
		t.Fatal(err)
	}
	var calls, leaked atomic.Int64
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }}
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.String()+r.Referer(), "hm_") || len(r.Cookies()) > 0 {
			leaked.Add(1)
		}
		if r.URL.Path != "/" && !strings.HasPrefix(r.URL.Path, "/web/") {
			calls.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer guarded.Close()

	p := openTab(t, guarded.URL)
	p.expectAbsence(true) // the browser logs what was refused
	p.open("")
	p.await(t, "the question", `!document.getElementById('access').hidden && document.activeElement.id === 'access-key'`)
	p.picture(t, "asks")
	if !value[bool](t, p, `document.getElementById('metrics').hidden`) {
		t.Error("the page has a link to /metrics, which would be refused")
	}
	if n := calls.Load(); n > 6 {
		t.Errorf("%d calls before there is a key", n)
	}
	before := calls.Load()
	p.do(chromedp.KeyEvent("hm_wrong"), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the refusal", `document.getElementById('access-why').textContent.includes('was not taken: ')`)
	if calls.Load() == before {
		t.Error("the key was not tried")
	}
	p.do(chromedp.KeyEvent("two words"), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the complaint", `document.getElementById('access-why').textContent.includes('one word')`)

	p.do(chromedp.KeyEvent(key), chromedp.KeyEvent(kb.Enter))
	p.await(t, "the board", `document.querySelector('.board tbody tr')?.dataset.holder === 'alice' && document.getElementById('access').hidden`)
	p.expectAbsence(false)
	p.picture(t, "with-key")
	if !value[bool](t, p, `document.getElementById('metrics').hidden`) {
		t.Error("the page has a link to /metrics, which sends no key")
	}
	// The watch has it too.
	send(map[string]any{"token_id": "GOLD", "holder_id": "carol", "start": "1980-01-01T00:00:00Z", "weight": 1000})
	p.await(t, "carol to lead by herself", `document.querySelector('.board tbody tr')?.dataset.holder === 'carol'`)
	// It is in the memory of the tab alone.
	kept := value[string](t, p, `JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, location.href, document.documentElement.outerHTML, history.state])`)
	if strings.Contains(kept, "hm_") || leaked.Load() > 0 {
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
