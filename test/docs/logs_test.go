package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every line that the product logs at info and above stands in docs/logs.md with what to
// do, and every field in its table of fields. Nothing stands there that is not logged.
func TestLogLines(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages, fields := logPage(string(page))
	seen, used := map[string]string{}, map[string]string{}
	for _, path := range productFiles(t) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := path + ":" + strconv.Itoa(set.Position(call.Pos()).Line)
			if name, is := zapField(call); is {
				used[name] = at
			}
			message, level := logCall(call)
			switch {
			case level == "":
			case message == "":
				t.Errorf("%s: the message of a line is a constant: put what changes into fields", at)
			case !messages[message]:
				t.Errorf("%s: docs/logs.md does not have the line %q", at, message)
			default:
				seen[message] = at
			}
			return true
		})
	}
	for _, message := range slices.Sorted(maps.Keys(messages)) {
		if seen[message] == "" {
			t.Errorf("docs/logs.md has the line %q, which is not logged", message)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !fields[name] {
			t.Errorf("%s: docs/logs.md does not have the field %q", used[name], name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if used[name] == "" {
			t.Errorf("docs/logs.md has the field %q, which no line has", name)
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d lines were found", len(seen))
	}
}

// logPage reads the first cells of the tables of the page: messages, and below the heading
// "Fields" fields.
func logPage(page string) (messages, fields map[string]bool) {
	messages, fields = map[string]bool{}, map[string]bool{}
	cell := regexp.MustCompile("(?m)^\\| `([^`]+)`((?:, `[^`]+`)*) \\|")
	body, table, _ := strings.Cut(page, "\n## Fields\n")
	for _, m := range cell.FindAllStringSubmatch(body, -1) {
		messages[m[1]] = true
	}
	for _, m := range cell.FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split("`"+m[1]+"`"+m[2], ", ") {
			fields[strings.Trim(name, "`")] = true
		}
	}
	return messages, fields
}

// productFiles are the files of Go that the product is made of.
func productFiles(t *testing.T) (paths []string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		room, _, _ := strings.Cut(path, "/")
		if !strings.HasSuffix(path, "_test.go") && slices.Contains([]string{"cmd", "gateway", "processor", "projection", "ingest", "internal", "hold"}, room) {
			paths = append(paths, path)
		}
	}
	return paths
}

// isLogger matches the last name of what a line is logged by.
var isLogger = regexp.MustCompile(`(?i)log(ger)?$`)

// logCall returns the message and the level of a call that logs at info or above. The
// message is empty if it is no constant.
func logCall(call *ast.CallExpr) (message, level string) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", ""
	}
	at := 0
	switch method.Sel.Name {
	case "Info", "Warn", "Error", "DPanic", "Panic", "Fatal":
	case "Check":
		at = 1
	default:
		return "", ""
	}
	on := method.X
	if of, ok := on.(*ast.CallExpr); ok { // such as Named
		if inner, ok := of.Fun.(*ast.SelectorExpr); ok {
			on = inner.X
		}
	}
	name := ""
	switch on := on.(type) {
	case *ast.Ident:
		name = on.Name
	case *ast.SelectorExpr:
		name = on.Sel.Name
	}
	if !isLogger.MatchString(name) || len(call.Args) <= at || at > 0 && name != "logger" { // Check is a method of other things too
		return "", ""
	}
	return constant(call.Args[at]), method.Sel.Name
}

// constant returns the text of a literal, or of a sum of them.
func constant(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		if a, b := constant(e.X), constant(e.Y); a != "" && b != "" {
			return a + b
		}
	}
	return ""
}

// zapField returns the name of a field of zap.
func zapField(call *ast.CallExpr) (name string, ok bool) {
	of, isSelector := call.Fun.(*ast.SelectorExpr)
	if !isSelector || len(call.Args) < 2 {
		return "", false
	}
	if pkg, isIdent := of.X.(*ast.Ident); !isIdent || pkg.Name != "zap" {
		return "", false
	}
	name = constant(call.Args[0])
	return name, name != ""
}
