package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"holdmetrics/test/build"
)

var (
	named = regexp.MustCompile(`(?:^|[;|&(]\s*|=\S*\s+)holdmetrics ([^|;&#>]*)`)
	flags = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z0-9-]*)`)
)

// TestCommands checks every holdmetrics command that a page names, in a block or in
// the text, against the help of the binary: the command exists, and it has the flags.
func TestCommands(t *testing.T) {
	t.Parallel()
	helps := map[string]string{}
	checked := 0
	for _, p := range pages(t) {
		for line, commands := range p.named() {
			for _, command := range commands {
				for _, m := range named.FindAllStringSubmatch(command, -1) {
					checked++
					if problem := check(helps, m[1]); problem != "" {
						t.Errorf("%s:%d: holdmetrics %s: %s", p.name, line+1, strings.TrimSpace(m[1]), problem)
					}
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("checked %d commands, want more", checked)
	}
}

var (
	target  = regexp.MustCompile(`^make ([a-z]+)`)
	oneTest = regexp.MustCompile(`^go test (?:-\S+ )*(\./\S+) .*-run '?(\w+)`)
)

// TestTasks checks the make targets and the single tests that pages name.
func TestTasks(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, p := range pages(t) {
		for line, commands := range p.named() {
			for _, command := range commands {
				if m := target.FindStringSubmatch(command); m != nil {
					checked++
					if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
						t.Errorf("%s:%d: there is no make target %s", p.name, line+1, m[1])
					}
				}
				if m := oneTest.FindStringSubmatch(command); m != nil {
					checked++
					if !hasTest(t, m[1], m[2]) {
						t.Errorf("%s:%d: %s has no test %s", p.name, line+1, m[1], m[2])
					}
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("checked %d tasks, want more", checked)
	}
}

// hasTest reports whether a package has a test whose name contains the pattern.
func hasTest(t *testing.T, pkg, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^func Test\w*\(`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range wanted.FindAllString(string(text), -1) {
			if strings.Contains(test, pattern) {
				return true
			}
		}
	}
	return false
}

// defined finds the definition of a flag in Go.
var defined = regexp.MustCompile(`\.[A-Z][a-z0-9]+Var\(&[a-zA-Z.]+, "([a-z-]+)"`)

// TestFlags checks the flags that pages name alone, such as `--data-dir`.
func TestFlags(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	var collect func(path []string)
	collect = func(path []string) {
		cmd := exec.Command(binary, append(path, "--help")...)
		cmd.Env = build.Environment()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v --help: %v", path, err)
		}
		for _, m := range flags.FindAllStringSubmatch(string(out), -1) {
			known[m[1]] = true
		}
		_, commands, has := strings.Cut(string(out), "Available Commands:\n")
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, line := range strings.Split(commands, "\n") {
			if words := strings.Fields(line); has && len(words) > 0 {
				collect(append(path[:len(path):len(path)], words[0]))
			}
		}
	}
	collect(nil)
	// holdmetrics-audit is a program of another module.
	sources, err := filepath.Glob("../../audit/cmd/holdmetrics-audit/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources of holdmetrics-audit: ", err)
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range defined.FindAllStringSubmatch(string(text), -1) {
			known["--"+m[1]] = true
		}
	}
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			for _, quoted := range inline.FindAllString(line, -1) {
				code := strings.Trim(quoted, "`")
				if m := flags.FindStringSubmatch(code); m != nil && strings.HasPrefix(code, "--") && !known[m[1]] {
					t.Errorf("%s:%d: no command has a flag %s", p.name, i+1, m[1])
				}
			}
		}
	}
}

// named returns, by line, the commands that the page shows: those of sh and console
// blocks, and inline code.
func (p page) named() map[int][]string {
	found := map[int][]string{}
	for _, b := range p.blocks() {
		for i, line := range b.lines {
			command, ok := strings.CutPrefix(line, "$ ")
			if b.language == "sh" || b.language == "console" && ok {
				found[b.first+i] = append(found[b.first+i], command)
			}
		}
	}
	for i, line := range p.prose() {
		for _, quoted := range inline.FindAllString(line, -1) {
			found[i] = append(found[i], strings.Trim(quoted, "`"))
		}
	}
	return found
}

// check returns what is wrong with the command, or "" if nothing is.
func check(helps map[string]string, arguments string) string {
	help := func(path string) string {
		if _, known := helps[path]; !known {
			cmd := exec.Command(binary, append(strings.Fields(path), "--help")...)
			cmd.Env = build.Environment()
			out, _ := cmd.CombinedOutput() // an unknown command shows in its text
			helps[path] = string(out)
		}
		return helps[path]
	}
	path := ""
	for _, word := range strings.Fields(arguments) {
		listed := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(word) + `\s`)
		_, commands, has := strings.Cut(help(path), "Available Commands:")
		commands, _, _ = strings.Cut(commands, "Flags:")
		if !has || !listed.MatchString(commands) {
			if path == "" && !strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "…") {
				return "there is no command " + word
			}
			break
		}
		path = strings.TrimSpace(path + " " + word)
	}
	for _, flag := range flags.FindAllStringSubmatch(arguments, -1) {
		if !regexp.MustCompile(regexp.QuoteMeta(flag[1]) + `\b`).MatchString(help(path)) {
			return "there is no flag " + flag[1]
		}
	}
	return ""
}
