package docs

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link      = regexp.MustCompile(`\]\(([^()\s]+)(?:\s+"[^"]*")?\)`)
	reference = regexp.MustCompile(`^\[[^\]]+\]:\s+(\S+)`)
	inline    = regexp.MustCompile("`[^`]+`")
)

// TestLinks follows every relative link of every page.
func TestLinks(t *testing.T) {
	t.Parallel()
	anchors := map[string]map[string]bool{}
	all := pages(t)
	for _, p := range all {
		anchors[p.name] = p.anchors()
	}
	followed := 0
	for _, p := range all {
		for i, line := range p.prose() {
			var targets []string
			for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(line, ""), -1) {
				targets = append(targets, m[1])
			}
			if m := reference.FindStringSubmatch(line); m != nil {
				targets = append(targets, m[1])
			}
			for _, target := range targets {
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				followed++
				if err := follow(p.name, target, anchors); err != nil {
					t.Errorf("%s:%d: %v", p.name, i+1, err)
				}
			}
		}
	}
	if followed < 10 {
		t.Errorf("followed %d links, want more", followed)
	}
}

// follow returns an error if the target of a link of a page does not exist.
func follow(from, target string, anchors map[string]map[string]bool) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("link %s: %w", target, err)
	}
	name := from
	if u.Path != "" {
		name = path.Join(path.Dir(from), u.Path)
	}
	if strings.HasPrefix(name, "..") {
		return fmt.Errorf("link %s leads out of the repository", target)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
		return fmt.Errorf("link %s: there is no %s", target, name)
	}
	if u.Fragment != "" && !anchors[name][u.Fragment] {
		return fmt.Errorf("link %s: %s has no heading #%s", target, name, u.Fragment)
	}
	return nil
}

// anchors returns the names by which GitHub links to the headings of the page.
func (p page) anchors() map[string]bool {
	found := map[string]bool{}
	for _, line := range p.prose() {
		if explicit := regexp.MustCompile(`<a (?:id|name)="([^"]+)"`).FindStringSubmatch(line); explicit != nil {
			found[explicit[1]] = true
		}
		text := strings.TrimLeft(line, "#")
		if len(text) == len(line) || !strings.HasPrefix(text, " ") {
			continue
		}
		text = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(text, "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(text))
		for n, name := 1, slug; ; n++ {
			if !found[name] {
				found[name] = true
				break
			}
			name = fmt.Sprintf("%s-%d", slug, n)
		}
	}
	return found
}

// rooms are the directories at the top of the repository.
func rooms(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		// What a build leaves in bin is there on some machines only.
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" {
			found[e.Name()] = true
		}
	}
	return found
}

// TestPaths checks the paths of the repository that pages name, such as
// `hold/event.go`, where they begin with a directory at its top.
func TestPaths(t *testing.T) {
	t.Parallel()
	tops := rooms(t)
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			for _, quoted := range inline.FindAllString(line, -1) {
				name := strings.Trim(quoted, "`")
				name, _, _ = strings.Cut(name, "#")
				top, rest, ok := strings.Cut(name, "/")
				if !ok || !tops[top] || strings.ContainsAny(name, " *{<…") || strings.HasPrefix(rest, "/") {
					continue
				}
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
					t.Errorf("%s:%d: there is no %s", p.name, i+1, name)
				}
			}
		}
	}
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	p := page{lines: strings.Split("# A `stop` picks: its hold\n## B\n## B\n```\n# no\n```\n<a id=\"s1-2\"></a>", "\n")}
	got := p.anchors()
	for _, want := range []string{"a-stop-picks-its-hold", "b", "b-1", "s1-2"} {
		if !got[want] {
			t.Errorf("no anchor %s in %v", want, got)
		}
	}
	if got["no"] {
		t.Error("a heading within a fenced block is no anchor")
	}
}
