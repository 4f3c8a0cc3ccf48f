package legal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every dependency of the programs, on every system of a release, is under a licence that
// is compatible with Apache-2.0.
func TestDependenciesAreCompatible(t *testing.T) {
	t.Parallel()
	uses := map[string]string{"holdmetrics": "github.com/nats-io/nats-server/v2", "holdmetrics-audit": "github.com/codenotary/immudb"}
	for _, p := range Programs {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			modules, err := Modules(context.Background(), filepath.Join("..", "..", "..", p.Module), p.Package, p.On(Released))
			if err != nil {
				t.Fatal(err)
			}
			if len(modules) < 30 {
				t.Errorf("%d modules were found", len(modules))
			}
			for _, m := range modules {
				if err := m.Check(); err != nil {
					t.Error(err)
				}
			}
			text := string(Text(modules))
			for _, want := range []string{uses[p.Name], "std 1.", "TERMS AND CONDITIONS", "THE SOFTWARE IS PROVIDED"} {
				if !strings.Contains(text, want) {
					t.Errorf("the licence texts have no %q", want)
				}
			}
		})
	}
}

const isc = `Copyright (c) 2026 A. Author

Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH
REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY
AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM
LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR
OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
PERFORMANCE OF THIS SOFTWARE.
`

const gpl = `This program is free software: you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation, either version 3 of the License, or
(at your option) any later version.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
GNU General Public License for more details.

You should have received a copy of the GNU General Public License
along with this program.  If not, see <https://www.gnu.org/licenses/>.
`

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files   []File
		refused string
	}{
		"compatible":        {[]File{{"LICENSE", []byte(isc)}}, ""},
		"with a notice":     {[]File{{"LICENSE", []byte(isc)}, {"NOTICE", []byte("made by A. Author")}}, ""},
		"copyleft":          {[]File{{"COPYING", []byte(gpl)}}, "GPL"},
		"partly copyleft":   {[]File{{"LICENSE", []byte(isc)}, {"sub/LICENSE", []byte(gpl)}}, "sub/LICENSE"},
		"none":              {nil, "has no licence"},
		"a notice alone":    {[]File{{"NOTICE", []byte("made by A. Author")}}, "has no licence"},
		"of one's own":      {[]File{{"LICENSE", []byte("You may look at it on Sundays.")}}, "add it to the reviewed texts"},
		"with more beneath": {[]File{{"LICENSE", []byte(isc + strings.Repeat("You may not use it for evil in any way at all. ", 40))}}, "add it to the reviewed texts"},
	} {
		m := &Module{Path: "example.com/m", Version: "v1.0.0", Files: c.files}
		err := m.Check()
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.refused == "" && !slices.Equal(m.Licenses, []string{"ISC"}):
			t.Errorf("%s: licences are %q", name, m.Licenses)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: got %v, want an error with %q", name, err, c.refused)
		}
	}
}

// The licence nearest to a package counts too, not only that of the module.
func TestFilesOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"LICENSE.md", "a/b/COPYING", "a/license.go", "c/LICENCE"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filesOf(dir, map[string]bool{filepath.Join(dir, "a", "b"): true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if want := []string{"LICENSE.md", "a/b/COPYING"}; !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}
