package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// Every package has a comment, and so has every exported name: functions, methods,
// types, variables and constants. A comment on a group of variables or constants
// counts for all of them. Fields, methods of interfaces and methods of unexported types
// are exempt.
func TestEverythingExportedIsDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		set := token.NewFileSet()
		documented := false
		for _, name := range append(append([]string(nil), p.GoFiles...), p.CgoFiles...) {
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || file.Doc.Text() != ""
			if ast.IsGenerated(file) {
				continue
			}
			for _, missing := range undocumented(file) {
				t.Errorf("%s/%s:%d: %s has no doc comment", p.path(), name, set.Position(missing.at).Line, missing.name)
			}
		}
		if !documented && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no comment", p.path())
		}
	}
}

// declared is an exported name of a file.
type declared struct {
	name string
	at   token.Pos
}

// undocumented returns the exported names of a file that have no comment.
func undocumented(file *ast.File) (missing []declared) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() || d.Doc.Text() != "" || d.Recv != nil && !ast.IsExported(receiver(d)) {
				continue
			}
			name := d.Name.Name
			if d.Recv != nil {
				name = fmt.Sprintf("%s.%s", receiver(d), name)
			}
			missing = append(missing, declared{name, d.Pos()})
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				var names []*ast.Ident
				comment := d.Doc.Text()
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names, comment = []*ast.Ident{s.Name}, comment+s.Doc.Text()
				case *ast.ValueSpec:
					names, comment = s.Names, comment+s.Doc.Text()+s.Comment.Text()
				}
				for _, n := range names {
					if n.IsExported() && comment == "" {
						missing = append(missing, declared{n.Name, n.Pos()})
					}
				}
			}
		}
	}
	return missing
}

func TestUndocumented(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "a.go", `package a

type A struct{}

func (A) B() {}

type b struct{}

func (b) C() {}

// C is documented.
func C() {}

// D and E are a group.
const (
	D = 1
	E = 2
)

const F = 3 // is documented

var G int

func h() {}
`, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range undocumented(file) {
		got = append(got, d.name)
	}
	if fmt.Sprint(got) != "[A A.B G]" {
		t.Errorf("undocumented: %v", got)
	}
}
