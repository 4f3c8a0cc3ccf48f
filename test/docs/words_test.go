package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// words are those that the project does not use, with what to write instead. They are
// the same for pages, comments, names, texts that a program prints, and scripts.
var words = []struct {
	pattern *regexp.Regexp
	instead string
	stems   []string // in lower case; a text without any of them has no word of the pattern
}{
	{regexp.MustCompile(`(?i)\bdoors?\b`), "server, endpoint, or gateway", []string{"door"}},
	{regexp.MustCompile(`(?i)\brelin(e|es|ing|ings)\b|\bdrawn anew\b`), "refresh", []string{"relin", "drawn anew"}},
	{regexp.MustCompile(`(?i)\bsettled (dead )?letters?\b`), "resolved dead letter", []string{"letter"}},
	{regexp.MustCompile(`(?i)\bletters?\b`), "dead letter", []string{"letter"}},
	{regexp.MustCompile(`(?i)\blanes?\b`), "reply queue, or partition batcher", []string{"lane"}},
	{regexp.MustCompile(`(?i)\binbox(es)?\b`), "prefetch buffer", []string{"inbox"}},
	{regexp.MustCompile(`(?i)\btenures?\b|\btenancy\b`), "ownership term", []string{"tenur", "tenanc"}},
	{regexp.MustCompile(`(?i)\btroubles?\b`), "last error, fault, or degraded", []string{"trouble"}},
	{regexp.MustCompile(`(?i)\bplants?\b`), "app, or cluster", []string{"plant"}},
	{regexp.MustCompile(`(?i)\bpumps?\b`), "batch uploader", []string{"pump"}},
	{regexp.MustCompile(`(?i)\b(owes?|debts?)\b`), "backlog, or backfill", []string{"owe", "debt"}},
	{regexp.MustCompile(`(?i)\b(soil|hungry)\b`), "markDirty, starved", []string{"soil", "hungry"}},
	{regexp.MustCompile(`(?i)\banew\b`), "again", []string{"anew"}},
	{regexp.MustCompile(`(?i)\bwhoever\b`), "a subject", []string{"whoever"}},
	{regexp.MustCompile(`(?i)\b(is|are|was|were|be|been) told\b|\btells nobody\b`), "is reported, sent, or received", []string{" told", "tells nobody"}},
	{regexp.MustCompile(`(?i)\bsays whether\b`), "reports whether", []string{"says whether"}},
	{regexp.MustCompile(`(?i)\bas far as\b`), "if, or up to", []string{"as far as"}},
	{regexp.MustCompile(`(?i)\bwhere there is none\b|\bwhere it differs\b`), "if there is none", []string{"where"}},
}

// allowed is what looks like one of the words and is none: letters of an alphabet, and
// names on the wire and in stored data, which stay as they are.
var allowed = regexp.MustCompile(`(?i)\bdead[ -]?letters?\b|\bletters, digits\b|\bcase of (a )?letters?\b|\bASCII letters\b|\bletter by letter\b|\bto the letter\b|\bletter-spacing\b|\b\d+ letters\b` +
	`|json:"(door|trouble|letters)\b|"door[".]|"trouble":|\bp\.trouble\b|\bstring trouble = 13;|\bdoor\.<id>`)

// unwanted returns the words that a text should not have, each with its replacement.
func unwanted(text string) (found []string) {
	lower := strings.ToLower(text)
	cleaned := false
	for _, w := range words {
		// There are tens of thousands of texts, and a pattern takes its time.
		if !slices.ContainsFunc(w.stems, func(stem string) bool { return strings.Contains(lower, stem) }) {
			continue
		}
		if !cleaned {
			text, cleaned = allowed.ReplaceAllString(text, ""), true
		}
		if word := w.pattern.FindString(text); word != "" {
			found = append(found, strconv.Quote(word)+": write "+w.instead)
		}
	}
	return found
}

// TestWords finds words that readers should not have to learn, in every page.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			for _, word := range unwanted(line) {
				t.Errorf("%s:%d: %s", p.name, i+1, word)
			}
		}
	}
}

// ownWords are the files that have to name the words.
var ownWords = []string{"test/docs/words_test.go"}

// eachFile calls fn with every file of the repository that has one of the extensions.
func eachFile(t *testing.T, extensions []string, fn func(name, path string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == "data" || name == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if slices.Contains(extensions, filepath.Ext(path)) && !slices.Contains(ownWords, name) {
			files++
			fn(name, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatalf("no files with %v below %s", extensions, root)
	}
}

// TestWordsOfCode finds the same words in Go files: in comments, in the names that
// they declare, and in strings. It skips generated files.
func TestWordsOfCode(t *testing.T) {
	t.Parallel()
	eachFile(t, []string{".go"}, func(name, path string) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(file) {
			return
		}
		for _, text := range textsOf(file) {
			for _, word := range unwanted(text.text) {
				t.Errorf("%s:%d: the %s has %s", name, set.Position(text.at).Line, text.what, word)
			}
		}
	})
}

// codeText is a text of a Go file that people read.
type codeText struct {
	what string // comment, name or string
	text string
	at   token.Pos
}

// textsOf returns the comments of a file, its strings, and the names that it declares.
func textsOf(file *ast.File) (texts []codeText) {
	for _, group := range file.Comments {
		// Text drops the comment markers; a phrase may go over two lines.
		texts = append(texts, codeText{"comment", strings.Join(strings.Fields(group.Text()), " "), group.Pos()})
	}
	declare := func(names ...*ast.Ident) {
		for _, n := range names {
			if spaced := splitName(n.Name); spaced != "letters" && spaced != "letter" && spaced != "inbox" { // of an alphabet; of NATS
				texts = append(texts, codeText{"name " + n.Name, spaced, n.Pos()})
			}
		}
	}
	assign := func(tok token.Token, left ...ast.Expr) {
		for _, e := range left {
			if n, ok := e.(*ast.Ident); ok && tok == token.DEFINE {
				declare(n)
			}
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			declare(n.Name)
		case *ast.TypeSpec:
			declare(n.Name)
		case *ast.ValueSpec:
			declare(n.Names...)
		case *ast.Field:
			declare(n.Names...)
		case *ast.AssignStmt:
			assign(n.Tok, n.Lhs...)
		case *ast.RangeStmt:
			assign(n.Tok, n.Key, n.Value)
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				texts = append(texts, codeText{"string", strings.Join(strings.Fields(n.Value), " "), n.Pos()})
			}
		}
		return true
	})
	return texts
}

// splitName returns the words of a name, such as "dead letter id" of deadLetterID.
func splitName(name string) string {
	var b strings.Builder
	before := ' '
	for _, r := range name {
		if unicode.IsUpper(r) && !unicode.IsUpper(before) || r == '_' {
			b.WriteByte(' ')
		}
		if r != '_' {
			b.WriteRune(unicode.ToLower(r))
		}
		before = r
	}
	return strings.TrimSpace(b.String())
}

// TestWordsOfScripts finds the same words in what is neither a page nor Go: scripts,
// transcripts, the protocol, the web page, deployment files and the Makefile's kin.
func TestWordsOfScripts(t *testing.T) {
	t.Parallel()
	eachFile(t, []string{".txtar", ".txt", ".proto", ".js", ".html", ".css", ".yaml", ".yml", ".sh", ""}, func(name, path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(text, 0) {
			return // a binary, which a build has left
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, word := range unwanted(line) {
				t.Errorf("%s:%d: %s", name, i+1, word)
			}
		}
	})
}

// The test finds a word in every place in which it looks, and no other.
func TestUnwanted(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "a.go", `package a

// doorA is reported
// anew.
const doorA = "a lane"

type deadLetterKey struct{ Trouble string `+"`json:\"trouble\"`"+` }

func TestRawDoor(tenure int) { for letter := range "x" { myInbox := letter; _ = myInbox } }
`, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, text := range textsOf(file) {
		for _, word := range unwanted(text.text) {
			found, _, _ := strings.Cut(word, ":")
			got = append(got, text.what+" "+found)
		}
	}
	want := []string{`comment "anew"`, `name doorA "door"`, `string "lane"`, `name Trouble "trouble"`, `name TestRawDoor "door"`, `name tenure "tenure"`, `name myInbox "inbox"`}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestLength keeps README.md a page that is read in one go, and every paragraph of a
// page short enough to be read as source.
func TestLength(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		if p.name == "README.md" && len(p.lines) > 201 { // the last line ends with a newline
			t.Errorf("README.md has %d lines, want at most 200", len(p.lines)-1)
		}
		most := 500
		if p.name == "README.md" {
			most = 300
		}
		for i, line := range p.lines {
			if len(line) >= most {
				t.Errorf("%s:%d: %d bytes, want fewer than %d: split the paragraph", p.name, i+1, len(line), most)
			}
		}
	}
}
