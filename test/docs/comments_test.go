package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wordsOfComments are those that the comments of Go files no longer use either.
var wordsOfComments = regexp.MustCompile(`(?i)\b(whoever|anew|says whether|(is|are) told|as far as is known|relinings?|tenures?|tenancy)\b`)

// TestComments finds words in the comments of Go files that readers should not have
// to learn. It skips tests and generated files.
func TestComments(t *testing.T) {
	t.Parallel()
	files := 0
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
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if ast.IsGenerated(file) {
			return nil
		}
		files++
		for _, group := range file.Comments {
			// Text drops the comment markers; a phrase may go over two lines.
			text := strings.Join(strings.Fields(group.Text()), " ")
			for _, found := range wordsOfComments.FindAllString(text, -1) {
				t.Errorf("%s: the comment from here has %q", set.Position(group.Pos()), found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("no Go files below %s", root)
	}
}
