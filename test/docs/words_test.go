package docs

import (
	"regexp"
	"testing"
)

// words are those that the project no longer uses, with what to write instead.
var words = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\bdoors?\b`), "server, endpoint, or gateway"},
	{regexp.MustCompile(`(?i)\brelinings?\b|\bdrawn anew\b`), "refresh"},
	{regexp.MustCompile(`(?i)\bsettled letters?\b`), "resolved dead letter"},
	{regexp.MustCompile(`(?i)\bletters\b`), "dead letters"},
	{regexp.MustCompile(`(?i)\blanes?\b`), "reply queue, or partition batcher"},
	{regexp.MustCompile(`(?i)\binbox(es)?\b`), "prefetch buffer"},
	{regexp.MustCompile(`(?i)\btenures?\b|\btenancy\b`), "ownership term"},
	{regexp.MustCompile(`(?i)\bplants?\b`), "app, or cluster"},
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bwhoever\b`), "a subject"},
	{regexp.MustCompile(`(?i)\b(is|are) told\b|\btells nobody\b`), "is reported"},
	{regexp.MustCompile(`(?i)\bsays whether\b`), "reports whether"},
	{regexp.MustCompile(`(?i)\bas far as\b`), "if, or up to"},
	{regexp.MustCompile(`(?i)\bwhere there is none\b|\bwhere it differs\b`), "if there is none"},
}

// allowed are the letters that are no private word.
var allowed = regexp.MustCompile(`(?i)\bdead[ -]letters?\b|\bletters, digits\b`)

// TestWords finds words that readers should not have to learn.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			line = allowed.ReplaceAllString(line, "")
			for _, w := range words {
				if found := w.pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %q: write %s", p.name, i+1, found, w.instead)
				}
			}
		}
	}
}

// TestLength keeps README.md a page that is read in one go.
func TestLength(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		if p.name != "README.md" {
			continue
		}
		if len(p.lines) > 201 { // the last line ends with a newline
			t.Errorf("README.md has %d lines, want at most 200", len(p.lines)-1)
		}
		for i, line := range p.lines {
			if len(line) >= 300 {
				t.Errorf("README.md:%d: %d bytes, want fewer than 300", i+1, len(line))
			}
		}
	}
}
