package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

const (
	module = "holdmetrics"

	mostFiles   = 30 // that are not tests, in a package
	mostMethods = 40 // of a type
)

// rooms are the layers of the module, the lowest first. A package may import
// packages of its own room and of the rooms that are listed for it.
var rooms = []struct {
	name string   // a directory of the module, with all below it
	uses []string // the rooms that its packages may import beside their own
}{
	{"proto", nil},
	{"hold", nil},
	{"internal", []string{"hold", "proto"}},
	{"ingest", []string{"hold", "proto", "internal"}},
	{"projection", []string{"ingest", "hold", "proto", "internal"}},
	{"processor", []string{"projection", "ingest", "hold", "proto", "internal"}},
	{"gateway", []string{"processor", "projection", "ingest", "hold", "proto", "internal"}},
	{"cmd", []string{"gateway", "processor", "projection", "ingest", "hold", "proto", "internal"}},
	{"test", []string{"cmd", "gateway", "processor", "projection", "ingest", "hold", "proto", "internal"}},
	{"tools", nil},
}

// impure are the standard packages that hold must not import: it has no network, no
// files, no processes, no log, no randomness and no goroutines.
var impure = []string{"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal", "sync", "syscall"}

// clock are the functions of package time that hold must not call.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// exceptions are the packages and types that are larger than allowed. One that is small
// enough must be taken out. Nothing may be added.
var exceptions []string

// listed is what 'go list' says of a package.
type listed struct {
	ImportPath, Dir                    string
	GoFiles, CgoFiles, IgnoredGoFiles  []string
	Imports, TestImports, XTestImports []string
}

// room returns the package's room, which is the first element of its path.
func (p *listed) room() string {
	first, _, _ := strings.Cut(p.path(), "/")
	return first
}

// path is the package's path in the module.
func (p *listed) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// packages lists the module once.
var packages = sync.OnceValues(func() ([]*listed, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports", module+"/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, &stderr)
	}
	var all []*listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func list(t *testing.T) []*listed {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("go list has found %d packages only", len(all))
	}
	return all
}

// Imports run one way.
func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		i := slices.IndexFunc(rooms, func(r struct {
			name string
			uses []string
		}) bool {
			return r.name == p.room()
		})
		if i < 0 {
			t.Errorf("%s is in no room: add it to the rooms of this test, and to docs/architecture.md", p.path())
			continue
		}
		for _, of := range p.Imports {
			used, ours := strings.CutPrefix(of, module+"/")
			if !ours {
				continue
			}
			room, _, _ := strings.Cut(used, "/")
			if room != p.room() && !slices.Contains(rooms[i].uses, room) {
				t.Errorf("%s imports %s: %s may import %v only", p.path(), used, p.room(), rooms[i].uses)
			}
		}
	}
}

// The domain is pure: it imports nothing of ours outside its room, and no clock,
// network, file system or randomness.
func TestTheDomainIsPure(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range list(t) {
		if p.room() != "hold" || p.path() == "hold/rules" {
			continue
		}
		seen++
		for _, of := range p.Imports {
			if slices.Contains(impure, of) {
				t.Errorf("%s imports %s", p.path(), of)
			}
			if used, ours := strings.CutPrefix(of, module+"/"); ours && used != "hold" && !strings.HasPrefix(used, "hold/") {
				t.Errorf("%s imports %s", p.path(), used)
			}
		}
		for _, name := range p.GoFiles {
			calls, err := impureCalls(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range calls {
				t.Errorf("%s/%s has %s: take the clock, or what runs concurrently, as an argument", p.path(), name, call)
			}
		}
	}
	if seen == 0 {
		t.Fatal("there is no package hold")
	}
}

// impureCalls returns the clock functions that a file calls, and its go statements.
func impureCalls(path string) (calls []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch s := n.(type) {
		case *ast.GoStmt:
			calls = append(calls, "a go statement")
		case *ast.SelectorExpr:
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, s.Sel.Name) {
				calls = append(calls, "time."+s.Sel.Name)
			}
		}
		return true
	})
	return calls, nil
}

// Transports and vendors stay at the edge.
func TestVendorsStayAtTheEdge(t *testing.T) {
	t.Parallel()
	for vendor, allowed := range map[string][]string{
		"net/http":                       {"gateway", "cmd", "test", "internal"},
		"google.golang.org/grpc":         {"gateway", "cmd", "test", "proto", "internal"},
		"github.com/cockroachdb/pebble":  {"projection/embedded", "cmd", "test"},
		"go.mongodb.org/mongo-driver/v2": {"projection/mongo", "test"},
		"github.com/spf13/cobra":         {"cmd"},
	} {
		for _, p := range list(t) {
			if slices.ContainsFunc(allowed, func(room string) bool { return p.path() == room || strings.HasPrefix(p.path(), room+"/") }) {
				continue
			}
			for _, of := range p.Imports {
				if of == vendor || strings.HasPrefix(of, vendor+"/") {
					t.Errorf("%s imports %s, which belongs to %v", p.path(), of, allowed)
				}
			}
		}
	}
}

// size is how large a package is.
type size struct {
	path           string
	files, lines   int
	largest        string // the type with most methods
	methods        int
	methodsOfTypes map[string]int
}

func measure(p *listed) (size, error) {
	s := size{path: p.path(), methodsOfTypes: map[string]int{}}
	files := slices.Concat(p.GoFiles, p.CgoFiles)
	for _, name := range p.IgnoredGoFiles { // of another system
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return s, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			return s, err
		}
		if ast.IsGenerated(file) {
			continue
		}
		s.files++
		s.lines += bytes.Count(text, []byte("\n"))
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				s.methodsOfTypes[receiver(f)]++
			}
		}
	}
	for name, n := range s.methodsOfTypes {
		if n > s.methods || n == s.methods && name < s.largest {
			s.largest, s.methods = name, n
		}
	}
	return s, nil
}

// receiver returns the name of the type that a method belongs to.
func receiver(f *ast.FuncDecl) string {
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func sizes(t *testing.T) []size {
	t.Helper()
	var all []size
	for _, p := range list(t) {
		s, err := measure(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// No package and no type does everything.
func TestNothingIsTooLarge(t *testing.T) {
	t.Parallel()
	needed := map[string]bool{}
	check := func(name string, n, most int, what string) {
		if n <= most {
			return
		}
		needed[name] = true
		if !slices.Contains(exceptions, name) {
			t.Errorf("%s has %d %s; at most %d are allowed: split it by idea", name, n, what, most)
		}
	}
	for _, s := range sizes(t) {
		check(s.path, s.files, mostFiles, "files")
		for name, n := range s.methodsOfTypes {
			check(s.path+"."+name, n, mostMethods, "methods")
		}
	}
	for _, name := range exceptions {
		if !needed[name] {
			t.Errorf("%s is small enough: take it out of the exceptions", name)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "package\tfiles\tlines\tlargest type\tmethods\n")
	lines := 0
	for _, s := range sizes(t) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\n", s.path, s.files, s.lines, s.largest, s.methods)
		lines += s.lines
	}
	fmt.Fprintf(w, "in all\t\t%d\t\t\n", lines)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
}

// Every package with tests runs them under the watchdog, so that a test that hangs fails
// within two minutes and names what it waits for.
func TestTestsAreWatched(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range list(t) {
		names, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			continue
		}
		seen++
		if !slices.ContainsFunc(names, func(name string) bool {
			watched, err := watches(name)
			if err != nil {
				t.Fatal(err)
			}
			return watched
		}) {
			t.Errorf("the tests of %s may hang: give it the TestMain that holdmetrics/internal/testwait shows", p.path())
		}
	}
	if seen < 20 {
		t.Errorf("%d packages with tests were found only", seen)
	}
}

// watches reports whether a file has a TestMain, or what it calls, that starts the watchdog.
func watches(path string) (found bool, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return false, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			x, ok := f.X.(*ast.Ident)
			found = found || ok && x.Name == "testwait" && f.Sel.Name == "Watch"
		case *ast.Ident: // in the package itself
			found = found || file.Name.Name == "testwait" && f.Name == "Watch"
		}
		return true
	})
	return found, nil
}

// A larger package and a larger type are seen, and generated files are not counted.
func TestMeasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "package a\n\ntype T[K any] struct{}\n\nfunc (t *T[K]) A() {}\nfunc (T[K]) B() {}\n",
		"b.go": "package a\n\ntype U struct{}\n\nfunc (u U) A() {}\n",
		"c.go": "// Code generated by a test. DO NOT EDIT.\n\npackage a\n\nfunc (u U) C() {}\nfunc (u U) D() {}\nfunc (u U) E() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := measure(&listed{ImportPath: module + "/x/a", Dir: dir, GoFiles: []string{"a.go", "b.go", "c.go"}})
	if err := os.WriteFile(filepath.Join(dir, "d.go"), []byte("package a\n\nimport \"time\"\n\nvar now = time.Now().Add(time.Since(time.Unix(1, 0)))\n\nfunc f() { go f() }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if calls, err := impureCalls(filepath.Join(dir, "d.go")); err != nil || len(calls) != 3 {
		t.Errorf("%v, %v", calls, err)
	}
	if err != nil || s.path != "x/a" || s.files != 2 || s.lines != 11 || s.largest != "T" || s.methods != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}
