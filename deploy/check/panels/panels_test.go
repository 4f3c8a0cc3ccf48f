package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server stands for Prometheus: each query has a series with a hole, and a label has two
// values.
func server(t *testing.T, answer func(path, query string) string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if strings.Contains(query+r.FormValue("match[]"), "$") {
			t.Errorf("a variable was not replaced: %s", query)
		}
		_, _ = io.WriteString(w, answer(r.URL.Path, query)) // the test sees what is missing
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func usual(path, _ string) string {
	switch {
	case strings.HasPrefix(path, "/api/v1/label/"):
		return `{"status":"success","data":["7","1"]}`
	case path == "/api/v1/query":
		return `{"status":"success","data":{"result":[{"metric":{},"value":[1000,"42"]}]}}`
	}
	return `{"status":"success","data":{"result":[{"metric":{"instance":"<g1>"},"values":[[1000,"1"],[1010,"NaN"],[1200,"3"]]}]}}`
}

// Every dashboard has a page with all its panels, which is well-formed and has the figures.
func TestPages(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	a := asked{prometheus: server(t, usual), dashboards: filepath.Join("..", "..", "grafana", "dashboards"), out: out, span: time.Hour, end: time.Unix(1500, 0), values: map[string]string{}}
	var said bytes.Buffer
	if err := a.run(t.Context(), &said); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "one partition (job 1, generation 1, partition 1)") {
		t.Errorf("it says\n%s", &said)
	}
	for _, name := range []string{"overview", "partition", "servers", "store"} {
		page, err := os.ReadFile(filepath.Join(out, name+".html"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(page)
		drawing := text[strings.Index(text, "<svg"):strings.Index(text, "</body>")]
		for d := xml.NewDecoder(strings.NewReader(drawing)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if !strings.Contains(text, ">42</text>") || !strings.Contains(text, "<path") || strings.Contains(text, "No data") {
			t.Errorf("%s has not all figures", name)
		}
	}
}

// A query that is refused is named, on the page and by the exit.
func TestRefusedQuery(t *testing.T) {
	t.Parallel()
	refuse := func(path, query string) string {
		if strings.Contains(query, "dead_letters_size") {
			return `{"status":"error","error":"bad <query>"}`
		}
		return usual(path, query)
	}
	out := t.TempDir()
	a := asked{prometheus: server(t, refuse), dashboards: filepath.Join("..", "..", "grafana", "dashboards"), out: out, span: time.Hour, end: time.Unix(1500, 0), values: map[string]string{"partition": "3"}}
	err := a.run(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "refuses 1 queries") {
		t.Errorf("got %v", err)
	}
	page, err := os.ReadFile(filepath.Join(out, "store.html"))
	if err != nil || !bytes.Contains(page, []byte("bad &lt;query&gt;")) {
		t.Errorf("the page does not say so (%v)", err)
	}
}

// Without metrics there is nothing to choose from, and the error says so.
func TestNothingIsScraped(t *testing.T) {
	t.Parallel()
	a := asked{prometheus: server(t, func(string, string) string { return `{"status":"success","data":[]}` }), dashboards: filepath.Join("..", "..", "grafana", "dashboards"), out: t.TempDir(), span: time.Hour, values: map[string]string{}}
	if err := a.run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "does it scrape holdmetrics?") {
		t.Errorf("got %v", err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit  string
		value float64
		want  string
	}{
		{"short", 0, "0"}, {"short", 16, "16"}, {"short", 0.5, "500 m"}, {"short", 1234567, "1.23 Mil"},
		{"s", 0.0612, "61.2 ms"}, {"s", 97, "1.62 min"}, {"s", 93600, "1.08 d"}, {"bytes", 592000, "578 KiB"}, {"ops", -3, "-3"},
	} {
		s := shown{}
		s.FieldConfig = map[string]any{"defaults": map[string]any{"unit": c.unit}}
		if got := s.format(c.value); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.value, c.unit, got, c.want)
		}
	}
	if got := fmt.Sprint(grid(0, 70<<20, true)); got != fmt.Sprint([]float64{0, 16 << 20, 32 << 20, 48 << 20, 64 << 20, 80 << 20}) {
		t.Errorf("the lines of 70 MiB are %s", got)
	}
}
