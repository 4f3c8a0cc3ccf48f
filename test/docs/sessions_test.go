package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"holdmetrics/test/build"
)

// step is one command of a page with the output that the page shows, or a file.
type step struct {
	page    string
	command string // empty: a file to write
	file    string
	first   int // index in the page of the first line of the output
	shown   []string

	printed []string // what the command printed, where that differs; for -update
	differs bool
}

func (s *step) place() string { return fmt.Sprintf("%s:%d", s.page, s.first) }

// session is the steps that share a directory and a server.
type session struct {
	name  string
	steps []*step
}

// sessions cuts the page into sessions.
func (p page) sessions() []*session {
	var all []*session
	var now *session
	for _, b := range p.blocks() {
		if b.language == "session" {
			now = nil
			continue
		}
		var steps []*step
		switch {
		case b.language == "console":
			steps = p.commands(b)
		case b.file != "":
			steps = []*step{{page: p.name, file: b.file, first: b.first, shown: b.lines}}
		}
		if len(steps) == 0 {
			continue
		}
		if now == nil {
			now = &session{name: fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", ".md", "").Replace(p.name), b.first)}
			all = append(all, now)
		}
		now.steps = append(now.steps, steps...)
	}
	return all
}

// commands returns the commands of a console block.
func (p page) commands(b block) []*step {
	var steps []*step
	for i := 0; i < len(b.lines); i++ {
		line := b.lines[i]
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if len(steps) > 0 {
				s := steps[len(steps)-1]
				s.shown = append(s.shown, line)
			}
			continue
		}
		for strings.HasSuffix(command, "\\") && i+1 < len(b.lines) {
			i++
			command += "\n" + b.lines[i]
		}
		if _, mark, ok := strings.Cut(command, "<<'"); ok {
			mark, _, _ = strings.Cut(mark, "'")
			for i+1 < len(b.lines) {
				i++
				command += "\n" + b.lines[i]
				if b.lines[i] == mark {
					break
				}
			}
		}
		steps = append(steps, &step{page: p.name, command: command, first: b.first + i + 1})
	}
	for _, s := range steps { // blank lines between commands are for the reader
		for len(s.shown) > 0 && strings.TrimSpace(s.shown[len(s.shown)-1]) == "" {
			s.shown = s.shown[:len(s.shown)-1]
		}
	}
	return steps
}

// TestSessions runs the console blocks of all pages. Each session becomes a script
// of testscript.
func TestSessions(t *testing.T) {
	if testing.Short() && !*update {
		t.Skip("it runs servers; leave -short away")
	}
	for _, name := range []string{"curl", "gzip", "jq"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("the pages use %s, which is not installed", name)
		}
	}
	scripts := t.TempDir()
	steps := map[string]*step{}
	var files []string
	for _, p := range pages(t) {
		for _, s := range p.sessions() {
			var script strings.Builder
			for _, step := range s.steps {
				steps[step.place()] = step
				for _, line := range strings.Split(step.command, "\n") {
					fmt.Fprintf(&script, "# %s\n", line)
				}
				fmt.Fprintf(&script, "console %s\n", step.place())
			}
			name := filepath.Join(scripts, s.name+".txt")
			if err := os.WriteFile(name, []byte(script.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, name)
		}
	}
	worlds := &worlds{of: map[*testscript.TestScript]*world{}}
	t.Run("run", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Files:           files,
			ContinueOnError: *update,
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"console": func(ts *testscript.TestScript, _ bool, args []string) {
					worlds.get(ts).run(ts, steps[args[0]])
				},
			},
		})
	})
	if *update {
		rewrite(t, steps)
	}
}

// rewrite puts what was printed into the pages, from their ends to their beginnings.
func rewrite(t *testing.T, steps map[string]*step) {
	for _, p := range pages(t) {
		changed := false
		for i := len(p.lines); i > 0; i-- {
			s := steps[fmt.Sprintf("%s:%d", p.name, i)]
			if s == nil || !s.differs {
				continue
			}
			rest := append([]string(nil), p.lines[i+len(s.shown):]...)
			p.lines = append(append(p.lines[:i:i], s.printed...), rest...)
			changed = true
		}
		if changed {
			t.Logf("%s: updated", p.name)
			if err := os.WriteFile(filepath.Join(root, p.name), []byte(strings.Join(p.lines, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// worlds are those of the scripts that run.
type worlds struct {
	mu sync.Mutex
	of map[*testscript.TestScript]*world
}

func (w *worlds) get(ts *testscript.TestScript) *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[ts] == nil {
		made := &world{dir: ts.MkAbs("work"), bin: ts.MkAbs("bin")}
		ts.Check(os.Mkdir(made.dir, 0o755))
		ts.Check(os.Mkdir(made.bin, 0o755))
		ts.Check(os.WriteFile(filepath.Join(made.bin, "holdmetrics"), []byte(wrapper), 0o755))
		ts.Defer(made.close)
		w.of[ts] = made
	}
	return w.of[ts]
}

// wrapper is the holdmetrics that sessions run: it finds the server of the session
// where the page relies on the default port.
const wrapper = `#!/bin/sh
case "$1 $2" in
*--help*) ;;
record\ *|stats\ *|top\ *|explain\ *|status\ *|"import transfers"|"import events"|"dlq retry") exec "$HOLDMETRICS" "$@" --server "$SERVER" ;;
esac
exec "$HOLDMETRICS" "$@"
`

// run runs one step and compares what it prints.
func (w *world) run(ts *testscript.TestScript, s *step) {
	if s.command == "" {
		ts.Check(os.WriteFile(filepath.Join(w.dir, s.file), []byte(strings.Join(s.shown, "\n")+"\n"), 0o644))
		return
	}
	if w.skipped {
		return
	}
	var printed string
	var err error
	words := strings.Fields(s.command)
	switch {
	case len(words) > 1 && words[0] == "holdmetrics" && background[words[1]]:
		printed, err = w.start(ts, words[1:])
		ts.Check(err)
	case words[0] == "publish":
		ts.Check(w.publish(words[1], words[2], strings.Join(words[3:], " ")))
	case words[0] == "stop-server":
		ts.Check(w.stop())
	case words[0] == "start-nats":
		ts.Check(w.startNATS(ts))
	case words[0] == "start-mongodb":
		ts.Check(w.startMongoDB(ts))
	default:
		cmd := exec.Command("/bin/sh", "-c", w.addresses().Replace(s.command))
		cmd.Dir = w.dir
		cmd.Env = append(build.Environment(), "PATH="+w.bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
			"HOLDMETRICS="+binary, "SERVER="+w.grpc, "NATS_URL="+w.nats, "TZ=UTC", "LC_ALL=C.UTF-8")
		var out []byte
		out, err = cmd.CombinedOutput()
		printed = string(out)
	}
	printed = w.documented().Replace(strings.TrimRight(printed, "\n"))
	fails := len(s.shown) > 0 && strings.HasPrefix(s.shown[len(s.shown)-1], "holdmetrics: ")
	switch {
	case err != nil && !fails:
		ts.Logf("%s: %v\n%s", s.command, err, printed)
	case err == nil && fails:
		ts.Logf("%s: succeeded, and the page shows a failure", s.command)
	case matches(s.shown, printed):
		return
	default:
		ts.Logf("%s\nprints\n%s\nand %s shows\n%s", s.command, printed, s.place(), strings.Join(s.shown, "\n"))
	}
	s.differs, s.printed = true, nil
	if printed != "" {
		for _, line := range strings.Split(printed, "\n") {
			s.printed = append(s.printed, strings.TrimRight(line, " "))
		}
	}
	if !*update {
		ts.Fatalf("%s: the page and the command differ; 'go test ./test/docs -run TestSessions -update' writes the output into the page", s.place())
	}
}
