package docs

import (
	"regexp"
	"strings"
	"testing"
)

// unstable is what differs from run to run.
var unstable = []struct {
	pattern *regexp.Regexp
	becomes string
}{
	// Events of pages lie before August 2026; what is later is the clock.
	{regexp.MustCompile(`\b(2026-(0[89]|1[0-2])|202[7-9]-\d\d|20[3-9]\d-\d\d)-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	// Live figures of holds that are still open, and their shares.
	{regexp.MustCompile(`\b\d{8,}(\.\d+)?\b`), "<number>"},
	{regexp.MustCompile(`\b\d(\.\d+)?e[-+]?\d+\b`), "<number>"},
	{regexp.MustCompile(`(?m)^(seconds|events/s|bytes)\s+[\d.]+$`), "$1 <number>"},
	{regexp.MustCompile(`\b\d+ bytes\b`), "<number> bytes"},
	{regexp.MustCompile(`\b\d+(\.\d+)? s$`), "<number> s"},
	{regexp.MustCompile(` \(and every other address of this machine\)`), ""},
}

var spaces = regexp.MustCompile(`[ \t]+`)

// progress is how a wait goes on, which nobody can foresee.
var progress = regexp.MustCompile(`(?m)^(\d+ %, |waiting for ).*\n`)

// stable returns the text without what differs from run to run.
func stable(text string) string {
	lines := strings.Split(progress.ReplaceAllString(text, ""), "\n")
	for i, line := range lines {
		for _, u := range unstable {
			line = u.pattern.ReplaceAllString(line, u.becomes)
		}
		lines[i] = strings.TrimSpace(spaces.ReplaceAllString(line, " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// matches reports whether what was printed is what the page shows.
func matches(shown []string, printed string) bool {
	var pattern strings.Builder
	pattern.WriteString("^")
	for _, line := range strings.Split(stable(strings.Join(shown, "\n")), "\n") {
		if line == "…" {
			pattern.WriteString(`(.*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\n`)
	}
	pattern.WriteString("$")
	return regexp.MustCompile(pattern.String()).MatchString(stable(printed) + "\n")
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shown, printed string
		want           bool
	}{
		{"a  b", "a b", true},
		{"a b", "a c", false},
		{"a", "a\nb", false},
		{"a\n…", "a\nb\nc", true},
		{"a\n…\nc", "a\nc", true},
		{"a\n…\nc", "a\nb", false},
		{"at 2026-11-24T01:30:18.5Z", "at 2027-01-02T03:04:05Z", true},
		{"at 2026-01-24T01:30:18Z", "at 2026-01-24T01:30:19Z", false},
		{"score 251.25", "score 251.26", false},
		{"score 1698949112.40831486", "score 1698949999.1", true},
		{`"next":"…",`, `"next":"abc",`, true},
		{"", "", true},
		{"", "a", false},
	} {
		if got := matches(strings.Split(c.shown, "\n"), c.printed); got != c.want {
			t.Errorf("shown %q, printed %q: %v, want %v", c.shown, c.printed, got, c.want)
		}
	}
}
