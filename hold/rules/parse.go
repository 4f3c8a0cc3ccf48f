package rules

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Parse reads a rules file. name is what problems call it. The error is
// [Problems], and has all of them that can be found at once.
func Parse(name string, text []byte) (*Rules, error) {
	p := &parser{name: name}
	rules := p.file(text)
	if len(p.problems) > 0 {
		byLine(p.problems)
		return nil, p.problems
	}
	byLine(p.warnings)
	rules.warnings = p.warnings
	rules.seal()
	return rules, nil
}

func byLine(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}

// parser gathers what is wrong while it reads, and goes on.
type parser struct {
	name     string
	problems Problems
	warnings []Problem
}

func (p *parser) wrong(n *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, p.problem(n.Line, format, args...))
}

func (p *parser) warn(line int, format string, args ...any) {
	p.warnings = append(p.warnings, p.problem(line, format, args...))
}

func (p *parser) problem(line int, format string, args ...any) Problem {
	// A problem is one line, and does nothing to a terminal, whatever the file says.
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, fmt.Sprintf(format, args...))
	return Problem{Name: p.name, Line: max(line, 1), Text: text}
}

// document is the root of the only document, nil where there is nothing.
func (p *parser) document(text []byte) *yaml.Node {
	if i := invalidUTF8(text); i >= 0 {
		p.wrong(&yaml.Node{Line: 1 + bytes.Count(text[:i], []byte("\n"))}, "not UTF-8")
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := d.Decode(&root); err != nil {
		if !errors.Is(err, io.EOF) {
			p.syntax(err, text)
		}
		return nil
	}
	if err := d.Decode(&more); err == nil {
		p.wrong(&more, "a second document begins; a rules file is one")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err, text)
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return nil
	}
	return root.Content[0]
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n < 2 {
			return i
		}
		i += n
	}
	return -1
}

// yamlLine is where the library's errors say their line.
var yamlLine = regexp.MustCompile(`^line ([0-9]+): `)

// indentedByTab is a line that says something behind a tab.
var indentedByTab = regexp.MustCompile(`^ *\t\s*[^\s#]`)

func (p *parser) syntax(err error, file []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	// The library names the line before the one that a tab begins, or that one.
	for i, l := range bytes.Split(file, []byte("\n")) {
		if (i+1 == line || i == line) && indentedByTab.Match(l) && (strings.Contains(text, "any token") || strings.Contains(text, "tab")) {
			p.wrong(&yaml.Node{Line: i + 1}, "not YAML: a tab indents this line; YAML wants spaces")
			return
		}
	}
	p.wrong(&yaml.Node{Line: line}, "not YAML: %s", text)
}

// kindOf is what a node is, as a message says it.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain reports whether a node is no alias, and nothing that one could refer to.
func (p *parser) plain(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.wrong(n, "anchors and aliases are not read here; write it out")
		return false
	}
	return true
}

// mapping gives the values of a mapping by key. what names it in messages. Keys
// that are not among these, or come twice, are wrong.
func (p *parser) mapping(n *yaml.Node, what string, keys ...string) (map[string]*yaml.Node, bool) {
	if !p.plain(n) {
		return nil, false
	}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "%s is %s, and must be a mapping of %s", what, kindOf(n), list(keys))
		return nil, false
	}
	values := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch was := values[key.Value]; {
		case !p.plain(key):
		case key.Kind != yaml.ScalarNode || !slices.Contains(keys, key.Value):
			p.wrong(key, "%s has no key %s; there is %s", what, kindOf(key), list(keys))
		case was != nil:
			p.wrong(key, "%s is there twice; line %d says it too", key.Value, was.Line)
		default:
			values[key.Value] = value
		}
	}
	return values, true
}

// list is words as a sentence has them.
func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// items gives those of a list; nothing is an empty one.
func (p *parser) items(n *yaml.Node, what string) []*yaml.Node {
	switch {
	case !p.plain(n) || isNull(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		p.wrong(n, "%s is %s, and must be a list", what, kindOf(n))
		return nil
	}
	return n.Content
}

// scalar is the text of a single value as it stands in the file: a number is
// never read as a float, nor an address as a number.
func (p *parser) scalar(n *yaml.Node, what string) (string, bool) {
	if !p.plain(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		p.wrong(n, "%s is %s, and must be a single value", what, kindOf(n))
		return "", false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n.Value, true
	}
	p.wrong(n, "%s has the tag %s; write the value alone", what, n.ShortTag())
	return "", false
}

// choice is a scalar that is one of the words.
func (p *parser) choice(n *yaml.Node, what string, words ...string) (string, bool) {
	s, ok := p.scalar(n, what)
	if ok && !slices.Contains(words, s) {
		p.wrong(n, "%s is %q, and must be one of %s", what, s, strings.Join(words, ", "))
		ok = false
	}
	return s, ok
}

// value is a scalar that parse reads.
func value[T any](p *parser, n *yaml.Node, what string, parse func(string) (T, error)) (v T, ok bool) {
	s, ok := p.scalar(n, what)
	if !ok {
		return v, false
	}
	v, err := parse(s)
	if err != nil {
		p.wrong(n, "%s: %v", what, err)
		return v, false
	}
	return v, true
}
