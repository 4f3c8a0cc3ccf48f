package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// statedRules returns the numbers of the rules that the specification states.
func statedRules(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "semantics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^\*\*(S\d+\.\d+)\b`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestSemantics finds rules of docs/semantics.md that no Go file cites, and citations of
// rules that it does not state. So each rule leads to the code that keeps it.
func TestSemantics(t *testing.T) {
	t.Parallel()
	stated := statedRules(t)
	if len(stated) < 50 {
		t.Fatalf("docs/semantics.md states %d rules: %v", len(stated), stated)
	}
	cited := map[string]bool{}
	number := regexp.MustCompile(`\bS(\d+)\.(\d+)(?: to S(\d+)\.(\d+))?\b`)
	eachFile(t, []string{".go"}, func(name, path string) {
		if strings.HasSuffix(name, "_test.go") && strings.HasPrefix(name, "test/docs/") {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range number.FindAllStringSubmatch(string(text), -1) {
			for _, rule := range span(m[1], m[2], m[3], m[4]) {
				if !slices.Contains(stated, rule) {
					t.Errorf("%s cites %s, which docs/semantics.md does not state", name, rule)
				}
				cited[rule] = true
			}
		}
	})
	for _, rule := range stated {
		if !cited[rule] {
			t.Errorf("no Go file cites rule %s of docs/semantics.md", rule)
		}
	}
}

// span returns the rules from one number to another of the same section. Without another
// one it is the first alone.
func span(section, from, toSection, to string) (rules []string) {
	first, _ := strconv.Atoi(from)
	last := first
	if toSection == section {
		last, _ = strconv.Atoi(to)
	} else if toSection != "" {
		rules = append(rules, "S"+toSection+"."+to)
	}
	for n := first; n <= last; n++ {
		rules = append(rules, "S"+section+"."+strconv.Itoa(n))
	}
	return rules
}
