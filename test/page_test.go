package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is a page in a headless Chromium, and all that went wrong in it.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	wrong  []string
	absent bool // the server is, or the path: what the browser says of that is no fault
}

// openTab starts a browser, or skips the test if there is none.
func openTab(t *testing.T, base string) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("no browser with -short")
	}
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		t.Skip("there is no Chromium on this machine; apt-get install chromium")
	}
	// In a container there is often no user but root, and no sandbox for it.
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), chromedp.ExecPath(found), chromedp.Headless, chromedp.NoSandbox,
		chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx, base: base}
	p.do() // starts the browser; what listens comes after it
	if err := chromedp.Listen(ctx, p.heard); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *tab) heard(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, p.base+"/") {
			p.wrong = append(p.wrong, "a request to elsewhere: "+u)
		}
	case *runtime.EventExceptionThrown:
		text, _ := json.Marshal(e.ExceptionDetails)
		p.wrong = append(p.wrong, "an exception: "+string(text))
	case *runtime.EventConsoleAPICalled:
		text, _ := json.Marshal(e.Args)
		p.wrong = append(p.wrong, "on the console: "+string(text))
	case *log.EventEntryAdded:
		if !p.absent || e.Entry.Source != log.EntrySourceNetwork {
			p.wrong = append(p.wrong, fmt.Sprintf("in the browser's log: %s %s", e.Entry.Text, e.Entry.URL))
		}
	}
}

// expectAbsence reports whether answers may be missing from here on.
func (p *tab) expectAbsence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent = on
}

func (p *tab) nothingWrong(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.wrong {
		t.Error(w)
	}
	p.wrong = nil
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// open goes to a view, by way of an empty page so that it starts fresh.
func (p *tab) open(hash string) {
	p.t.Helper()
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(p.base+"/"+hash))
}

// await waits until an expression of the page is true.
func (p *tab) await(t *testing.T, what, expression string) {
	t.Helper()
	began := time.Now()
	for {
		_, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("Boolean("+expression+")", chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
		if err == nil {
			return
		}
		// A document that is about to be replaced takes with it what was asked of it.
		if leaves(err) && time.Since(began) < patience {
			continue
		}
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body.innerText.slice(0, 2000)`))
		t.Fatalf("%s: %v; the page shows:\n%s", what, err, text)
	}
}

// leaves reports whether an expression was asked of a document that the browser has just
// left for another one.
func leaves(err error) bool {
	for _, text := range []string{"Cannot find context with specified id", "Execution context was destroyed", "Inspected target navigated or closed"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

func value[T any](t *testing.T, p *tab, expression string) T {
	t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *tab) size(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

func (p *tab) theme(name string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
	if err != nil {
		p.t.Fatal(err)
	}
}

// picture keeps a screenshot where 'go test -artifacts' wants it.
func (p *tab) picture(t *testing.T, name string) {
	t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, s *server, lines ...string) {
	t.Helper()
	resp, err := http.Post(s.http+"/holds", "application/x-ndjson", strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || strings.Contains(string(body), `"field"`) {
		t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
}

func event(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

const scriptHolder = `<img src=x onerror="alert(1)"><script>alert(2)</script>`

// TestPage drives the page of a real server in a real browser.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	p := openTab(t, s.http)

	const first = `document.querySelector('.board tbody tr')?.dataset.holder`
	t.Run("no holder yet, then one by itself", func(t *testing.T) {
		p.open("")
		p.await(t, "the empty state", `document.querySelector('.empty h2')?.textContent === 'No holder yet'`)
		p.picture(t, "empty")
		send(t, s, event(map[string]any{"token_id": "GOLD", "holder_id": "alice", "start": "2026-01-01T00:00:00Z", "weight": 2.5}))
		p.await(t, "the first holder", first+` === 'alice'`)
		p.nothingWrong(t)
	})

	long := strings.Repeat("long", 64)
	send(t, s,
		event(map[string]any{"token_id": "GOLD", "holder_id": "alice", "start": "2026-01-02T00:00:00Z", "end": "2026-01-05T00:00:00.123456789Z", "weight": 4}),
		event(map[string]any{"token_id": "GOLD", "holder_id": "alice", "start": "2026-01-04T00:00:00Z", "end": "2026-01-09T00:00:00Z", "weight": 1}),
		event(map[string]any{"token_id": "SILVER", "holder_id": "alice", "start": "2026-01-03T00:00:00Z", "weight_exact": "0.000000000000000001"}),
		event(map[string]any{"token_id": "GOLD", "holder_id": "bob", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:01.5Z", "weight_exact": "0.1"}),
		event(map[string]any{"token_id": "GOLD", "holder_id": scriptHolder, "start": "2026-01-01T00:00:00Z", "weight": 7}),
		event(map[string]any{"token_id": "GOLD", "holder_id": "a/b?c#d%2F&e", "start": "2026-01-01T00:00:00Z", "weight": 6}),
		event(map[string]any{"token_id": "GOLD", "holder_id": "עברית\u202eעربي", "start": "2026-01-01T00:00:00Z", "weight": 5}),
		event(map[string]any{"token_id": long, "holder_id": long, "start": "1990-01-01T00:00:00Z", "weight_exact": strings.Repeat("9", 37) + "." + strings.Repeat("9", 18)}),
	)

	t.Run("exact figures", func(t *testing.T) {
		p.open("")
		p.await(t, "all holders", `document.querySelectorAll('.board tbody tr').length === 6`)
		compareBoard(t, s, p)
		p.open("#/?by=settled")
		p.await(t, "settled", first+` === 'alice'`)
		want := statsOf(t, s)
		for holder, exact := range value[map[string]string](t, p, boardFigures) {
			_, exact, _ = strings.Cut(exact, " ")
			if exact != want[holder].Score {
				t.Errorf("%.20q: settled %s, want %s", holder, exact, want[holder].Score)
			}
		}
		p.nothingWrong(t)
	})

	t.Run("moves when an event comes", func(t *testing.T) {
		p.open("")
		p.await(t, "all holders", `document.querySelectorAll('.board tbody tr').length === 6`)
		before := value[string](t, p, `document.querySelector('[data-holder=alice] .main .figure').dataset.exact`)
		p.await(t, "time to go on", fmt.Sprintf(`document.querySelector('[data-holder=alice] .main .figure').dataset.exact !== '%s'`, before))
		send(t, s, event(map[string]any{"token_id": "GOLD", "holder_id": "carol", "start": "1980-01-01T00:00:00Z", "weight_exact": strings.Repeat("9", 37)}))
		p.await(t, "carol to lead", first+` === 'carol'`)
		compareBoard(t, s, p)
		p.nothingWrong(t)
	})

	t.Run("with the keyboard alone", func(t *testing.T) {
		// A key of this driver reaches the field also where the page has taken it.
		search := chromedp.Steps(chromedp.KeyEvent("/"), chromedp.KeyEvent(kb.Backspace))
		p.open("")
		p.await(t, "the board", first)
		p.do(chromedp.KeyEvent(kb.Tab))
		p.await(t, "the way past the head", `document.activeElement.id === 'skip'`)
		p.do(chromedp.KeyEvent(kb.Enter))
		p.await(t, "the content", `document.activeElement.id === 'main'`)
		// Through every control of the page, each with a mark that shows where one is.
		seen := map[string]bool{}
		for range 40 {
			p.do(chromedp.KeyEvent(kb.Tab))
			at := value[[]string](t, p, `(a => { const marked = a.matches('.choice input') ? a.nextElementSibling : a;
				return [a.id || a.closest('tr')?.dataset.holder || a.textContent, getComputedStyle(marked).outlineStyle]; })(document.activeElement)`)
			if at[1] == "none" {
				t.Errorf("%q has the focus and does not show it", at[0])
			}
			seen[at[0]] = true
			if at[0] == "alice" {
				break
			}
		}
		for _, want := range []string{"by-live", "token", "digits", "pause", "alice"} {
			if !seen[want] {
				t.Errorf("Tab does not come to %s: %v", want, seen)
			}
		}
		p.do(chromedp.KeyEvent(kb.Enter))
		p.await(t, "alice", `document.querySelector('h1').textContent === 'alice' && document.activeElement.tagName === 'H1' && document.querySelector('#score .figure')`)

		p.do(search, chromedp.KeyEvent("bob"), chromedp.KeyEvent(kb.Enter))
		p.await(t, "bob", `document.querySelector('h1').textContent === 'bob' && document.querySelector('#score .figure')?.dataset.exact === '0.15'`)
		if hash := value[string](t, p, `location.hash`); hash != "#/holder/bob" {
			t.Errorf("bob's address is %s", hash)
		}
		p.expectAbsence(true)
		p.do(search, chromedp.KeyEvent("Bob"), chromedp.KeyEvent(kb.Enter))
		p.await(t, "nobody", `document.querySelector('.empty h2')?.textContent === 'No such holder'`)
		p.do(chromedp.NavigateBack())
		p.await(t, "bob again", `document.querySelector('#score .figure')?.dataset.exact === '0.15'`)
		p.expectAbsence(false)
		p.nothingWrong(t)
	})

	t.Run("a holder", func(t *testing.T) {
		p.open("#/holder/alice")
		p.await(t, "pictures", `document.querySelectorAll('.token svg').length === 2 && document.querySelector('.chart svg path.line')`)
		got := value[[]string](t, p, `(f => [f.dataset.at, f.dataset.exact])(document.querySelector('#score .figure'))`)
		if want := statsOf(t, s)["alice"].at(t, got[0]); got[1] != want {
			t.Errorf("at %s the score is %s, want %s", got[0], got[1], want)
		}
		// Of three overlapping holds: what each counts, as the server says.
		counted := value[[]string](t, p, `[...document.querySelectorAll('.token')[0].querySelectorAll('tbody tr')].map(r => r.children[5].querySelector('.figure').dataset.exact)`)
		if len(counted) != 3 || counted[1] != "1036800.493827156" || counted[2] != "0" {
			t.Errorf("counted: %q", counted)
		}
		p.do(chromedp.Focus(chromedp.CSS(".chart .picture")), chromedp.KeyEvent(kb.Home))
		p.await(t, "the first point", `document.querySelector('.reading .when').textContent === '2026-01-01 00:00:00 UTC'`)

		p.open("#/holder/alice?from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z")
		p.await(t, "a window", `document.querySelector('#score .figure')?.dataset.exact === '345600'`)

		p.open("#/holder/" + url.PathEscape(scriptHolder))
		p.await(t, "a hostile id as text", fmt.Sprintf(`document.querySelector('h1').textContent === %s && document.querySelector('.token svg')`, quoted(scriptHolder)))
		if n := value[int](t, p, `document.querySelectorAll('img, main script').length`); n != 0 {
			t.Errorf("%d elements were made of an id", n)
		}
		p.open("#/holder/" + url.PathEscape("a/b?c#d%2F&e"))
		p.await(t, "an id that looks like a path", `document.querySelector('h1').textContent === 'a/b?c#d%2F&e' && document.querySelector('#score .figure')`)
		p.nothingWrong(t)
	})

	t.Run("both themes, and a phone", func(t *testing.T) {
		grounds := map[string]string{}
		for _, theme := range []string{"light", "dark"} {
			p.theme(theme)
			for name, view := range map[string][2]string{
				"board":  {"", `document.querySelectorAll('.board tbody tr').length === 7`},
				"holder": {"#/holder/alice", `document.querySelector('.token svg')`},
				"long":   {"#/holder/" + long, `document.querySelector('.token svg')`},
				"system": {"#/system", `document.querySelectorAll('.partitions li').length === 16`},
			} {
				for width, device := range map[int64]string{360: "phone", 1200: "desk"} {
					p.size(width, 800)
					p.open(view[0])
					p.await(t, name, view[1])
					if over := value[int](t, p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
						t.Errorf("%s, %s: %d pixels too wide", name, device, over)
					}
					if name == "board" {
						p.do(chromedp.Click(chromedp.CSS("#digits")))
						if over := value[int](t, p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
							t.Errorf("%s with all digits, %s: %d pixels too wide", name, device, over)
						}
					}
					p.picture(t, name+"-"+device+"-"+theme)
				}
			}
			grounds[theme] = value[string](t, p, `getComputedStyle(document.documentElement).backgroundColor`)
		}
		if grounds["light"] == grounds["dark"] {
			t.Errorf("the themes have one ground: %v", grounds)
		}
		p.size(1200, 800)
		p.nothingWrong(t)
	})

	t.Run("figures in brief", func(t *testing.T) {
		for text, want := range map[string]string{ // _ is a thin space
			"0": "0", "12.5": "12.5", "1234": "1234", "12345.6789": "12_345.678…", "-7": "−7",
			"123456789012345": "123_456_789_012_345", "1234567890123456": "1.234567 × 10¹⁵",
			"0.000000000000000001": "1 × 10⁻¹⁸", "0.00012345": "1.234 × 10⁻⁴",
		} {
			want = strings.ReplaceAll(want, "_", "\u2009")
			if got := value[string](t, p, fmt.Sprintf(`import('/web/decimal.js').then(m => m.plainText('%s'))`, text)); got != want {
				t.Errorf("%s in brief is %q, want %q", text, got, want)
			}
		}
		p.nothingWrong(t)
	})

	t.Run("the server goes away and comes back", func(t *testing.T) {
		p.open("")
		p.await(t, "the board", first)
		p.expectAbsence(true)
		s.stop()
		p.await(t, "the notice", `!document.getElementById('notice').hidden`)
		still := value[string](t, p, `document.querySelector('[data-holder=alice] .main .figure').dataset.exact`)
		p.picture(t, "away")
		if again := value[string](t, p, `document.querySelector('[data-holder=alice] .main .figure').dataset.exact`); again != still {
			t.Error("a figure moves that nobody knows")
		}
		s = start(t, dir, "--http-address", strings.TrimPrefix(s.http, "http://"))
		p.await(t, "the server again", `document.getElementById('notice').hidden`)
		p.await(t, "figures that go on", fmt.Sprintf(`document.querySelector('[data-holder=alice] .main .figure').dataset.exact !== '%s'`, still))
		p.expectAbsence(false)
		compareBoard(t, s, p)
		p.nothingWrong(t)
	})
}

// quoted is a text as JavaScript has it.
func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// boardFigures are the exact figures on the board by holder, each behind its instant.
const boardFigures = `Object.fromEntries([...document.querySelectorAll('.board tbody tr')].map(r => [r.dataset.holder, r.dataset.at + ' ' + r.querySelector('.main .figure').dataset.exact]))`

// compareBoard holds the live figures on the board against the lines of GET /stats.
func compareBoard(t *testing.T, s *server, p *tab) {
	t.Helper()
	want := statsOf(t, s)
	got := value[map[string]string](t, p, boardFigures)
	if len(got) != len(want) {
		t.Errorf("%d holders on the board, %d in the snapshots", len(got), len(want))
	}
	for holder, text := range got {
		at, exact, _ := strings.Cut(text, " ")
		if w := want[holder].at(t, at); exact != w {
			t.Errorf("%.20q at %s: %s, want %s", holder, at, exact, w)
		}
	}
}

// snapshotRow is a row of GET /stats.
type snapshotRow struct {
	Holder string    `json:"holder_id"`
	Score  string    `json:"score_exact"`
	Base   string    `json:"live_base"`
	Rate   string    `json:"live_rate"`
	Since  time.Time `json:"since"`
}

func statsOf(t *testing.T, s *server) map[string]snapshotRow {
	t.Helper()
	resp, err := http.Get(s.http + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var rows []snapshotRow
	if err := json.NewDecoder(resp.Body).Decode(&rows); err != nil {
		t.Fatal(err)
	}
	byHolder := map[string]snapshotRow{}
	for _, r := range rows {
		byHolder[r.Holder] = r
	}
	return byHolder
}

// at is the live score at an instant, worked out with fractions.
func (r snapshotRow) at(t *testing.T, ns string) string {
	t.Helper()
	base, ok1 := new(big.Rat).SetString(r.Base)
	rate, ok2 := new(big.Rat).SetString(r.Rate)
	at, ok3 := new(big.Rat).SetString(ns)
	if !ok1 || !ok2 || !ok3 {
		t.Fatal(errors.New("no number among " + r.Base + ", " + r.Rate + ", " + ns))
	}
	elapsed := at.Sub(at, new(big.Rat).SetInt64(r.Since.UnixNano()))
	elapsed.Quo(elapsed, new(big.Rat).SetInt64(1e9))
	text := base.Add(base, rate.Mul(rate, elapsed)).FloatString(36)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
