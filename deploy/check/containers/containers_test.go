// Package containers tests the Dockerfile and the compose files by the parsers of Docker.
package containers

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// root is the root of the repository.
var root = filepath.Join("..", "..", "..")

// instruction is an instruction of a Dockerfile.
type instruction struct {
	name  string
	args  []string
	flags []string
}

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "deploy", "docker", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		t.Errorf("warning: %s", w.Short)
	}
	var all []instruction
	for _, node := range result.AST.Children {
		i := instruction{name: strings.ToUpper(node.Value), flags: node.Flags}
		for n := node.Next; n != nil; n = n.Next {
			i.args = append(i.args, n.Value)
		}
		all = append(all, i)
	}
	return all
}

// The image has nothing but the program: no shell, no user with rights, no path that does
// not exist.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	last := 0
	all := dockerfile(t)
	for i := range all {
		if all[i].name == "FROM" {
			last = i
		}
	}
	final := all[last:]
	find := func(name string) instruction {
		i := slices.IndexFunc(final, func(i instruction) bool { return i.name == name })
		if i < 0 {
			t.Fatalf("the final stage has no %s", name)
		}
		return final[i]
	}
	if base := find("FROM").args[0]; !strings.HasPrefix(base, "gcr.io/distroless/static") && base != "scratch" {
		t.Errorf("the base is %s", base)
	}
	if user := find("USER").args[0]; !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("the user is %s: a number is wanted, which Kubernetes can check", user)
	}
	for _, i := range final {
		if i.name == "RUN" || i.name == "ADD" {
			t.Errorf("the final stage has %s: its base has no shell", i.name)
		}
	}
	program := "/usr/bin/holdmetrics"
	for _, name := range []string{"ENTRYPOINT", "HEALTHCHECK"} {
		if i := find(name); !slices.Contains(i.args, program) {
			t.Errorf("%s is %q, want %s in it", name, i.args, program)
		}
	}
	build := ""
	for _, i := range all[:last] {
		if i.name == "RUN" {
			build += strings.Join(i.args, " ")
		}
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "./cmd/holdmetrics"} {
		if !strings.Contains(build, want) {
			t.Errorf("the build has no %s", want)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(text))[1]
	if !strings.HasPrefix(all[0].args[0], "golang:"+version) {
		t.Errorf("it builds with %s, and go.mod wants Go %s", all[0].args[0], version)
	}
}

func project(t *testing.T, name string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "deploy", name)}, cli.WithName("test"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(context.Background()) // checks it against the schema of compose
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every file that a compose file mounts exists, every port is of this machine alone, and
// no process of ours may write elsewhere or has rights.
func TestCompose(t *testing.T) {
	t.Parallel()
	settings := known(t)
	for name, services := range map[string][]string{
		"compose.yaml":       {"g1", "g2", "grafana", "m1", "m2", "m3", "n1", "n2", "n3", "prometheus", "w1", "w2"},
		"compose.serve.yaml": {"holdmetrics"},
	} {
		p := project(t, name)
		if got := p.ServiceNames(); !slices.Equal(got, services) {
			t.Errorf("%s has the services %q, want %q", name, got, services)
		}
		for _, s := range p.Services {
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s: %s opens %s to everybody", name, s.Name, port.Published)
				}
			}
			for _, v := range s.Volumes {
				if v.Type != types.VolumeTypeBind {
					continue
				}
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %s mounts what is not there: %v", name, s.Name, err)
				}
			}
			if s.Image != "holdmetrics" {
				if !strings.Contains(s.Image, ":") {
					t.Errorf("%s: %s takes any version of %s", name, s.Name, s.Image)
				}
				continue
			}
			if !s.ReadOnly || s.User != "65532:65532" || !slices.Contains(s.CapDrop, "ALL") {
				t.Errorf("%s: %s is not confined", name, s.Name)
			}
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %s: %v", name, s.Name, err)
			}
			for variable := range s.Environment {
				if !settings[variable] {
					t.Errorf("%s: %s sets %s, which no setting has", name, s.Name, variable)
				}
			}
		}
	}
}

// known returns the names of the settings' variables.
func known(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, name := range regexp.MustCompile("`([A-Z][A-Z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
		all[name[1]] = true
	}
	return all
}
