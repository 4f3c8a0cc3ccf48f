package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top of the repository, seen from this package.
var root = filepath.Join("..", "..")

// page is a Markdown file of the repository.
type page struct {
	name  string // slash-separated, from the root
	lines []string
}

// block is a fenced block, or an HTML comment that holds a hidden session.
type block struct {
	language string // "console", "sh", ...; "session" for the comment <!-- session -->
	file     string // the second word of the info string
	first    int    // index of its first line within the page
	lines    []string
}

// pages returns every Markdown file of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var found []page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == "testdata" || name == "data" || name == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found = append(found, page{name: filepath.ToSlash(name), lines: strings.Split(string(text), "\n")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 2 {
		t.Fatalf("found %d pages, want README.md and more", len(found))
	}
	return found
}

// blocks returns the fenced blocks and hidden sessions of the page, in order.
func (p page) blocks() []block {
	var all []block
	for i := 0; i < len(p.lines); i++ {
		line := p.lines[i]
		closing := ""
		b := block{first: i + 1}
		switch {
		case strings.HasPrefix(line, "```"):
			closing = "```"
			words := strings.Fields(strings.TrimPrefix(line, "```"))
			if len(words) > 0 {
				b.language = words[0]
			}
			if len(words) > 1 {
				b.file = words[1]
			}
		case line == "<!-- session -->":
			all = append(all, block{language: "session", first: i})
			continue
		case line == "<!-- hidden":
			closing = "-->"
			b.language = "console"
		default:
			continue
		}
		for i++; i < len(p.lines) && p.lines[i] != closing; i++ {
			b.lines = append(b.lines, p.lines[i])
		}
		all = append(all, b)
	}
	return all
}

// prose returns the lines of the page with fenced blocks and comments left empty, so
// that line numbers stay.
func (p page) prose() []string {
	lines := append([]string(nil), p.lines...)
	for _, b := range p.blocks() {
		for i := b.first - 1; i <= b.first+len(b.lines) && i < len(lines); i++ {
			if i >= 0 && (b.language != "session" || i == b.first) {
				lines[i] = ""
			}
		}
	}
	return lines
}
