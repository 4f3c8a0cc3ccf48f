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
	"sigs.k8s.io/yaml"
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

func project(t *testing.T, names ...string) *types.Project {
	t.Helper()
	for i, name := range names {
		names[i] = filepath.Join(root, "deploy", name)
	}
	options, err := cli.NewProjectOptions(names, cli.WithName("test"))
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

// scraping is what counts here of a configuration of Prometheus.
type scraping struct {
	RuleFiles     []string `json:"rule_files"`
	ScrapeConfigs []struct {
		JobName       string `json:"job_name"`
		Scheme        string
		StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		TLS           struct {
			CA string `json:"ca_file"`
		} `json:"tls_config"`
	} `json:"scrape_configs"`
}

// Prometheus has its configuration and rules, and scrapes each process at its port of
// metrics. That port asks for no key, so no other container and no machine reaches it. With
// compose.tls.yaml no process is insecure, and Prometheus speaks TLS.
func TestComposeScrapesInside(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"compose.yaml"}, {"compose.yaml", "compose.tls.yaml"}} {
		secured := len(names) > 1
		p := project(t, names...)
		mounted := map[string]string{}
		server := p.Services["prometheus"]
		for _, v := range server.Volumes {
			mounted[v.Target] = v.Source
		}
		file, ok := "", false
		for _, arg := range server.Command {
			if path, is := strings.CutPrefix(arg, "--config.file="); is {
				file, ok = mounted[path]
			}
		}
		if !ok {
			t.Fatalf("Prometheus runs with %q, and has mounted %v", server.Command, mounted)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var config scraping
		if err := yaml.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		for _, name := range config.RuleFiles {
			if mounted[name] == "" {
				t.Errorf("%q: Prometheus has no %s", names, name)
			}
		}
		job := config.ScrapeConfigs[0]
		if len(config.RuleFiles) != 2 || job.JobName != "holdmetrics" || (job.Scheme == "https") != secured {
			t.Errorf("%q: Prometheus is configured as %+v", names, config)
		}
		if secured && !slices.ContainsFunc(server.Secrets, func(s types.ServiceSecretConfig) bool { return job.TLS.CA == "/run/secrets/"+s.Source }) {
			t.Errorf("Prometheus has no file %q", job.TLS.CA)
		}
		targets := job.StaticConfigs[0].Targets
		for _, s := range p.Services {
			if _, outside := s.Networks["outer"]; outside != (len(s.Ports) > 0) {
				t.Errorf("%s has ports for this machine, or a network for them, and not both", s.Name)
			}
			if s.Image != "holdmetrics" {
				continue
			}
			set := func(name, want string) {
				if got := s.Environment[name]; got == nil || *got != want {
					t.Errorf("%q: %s has not %s=%s", names, s.Name, name, want)
				}
			}
			set("METRICS_ADDRESS", "0.0.0.0:9090")
			if !slices.Contains(targets, s.Name+":9090") {
				t.Errorf("%s is not scraped: the targets are %q", s.Name, targets)
			}
			for _, port := range s.Ports {
				if port.Target == 9090 {
					t.Errorf("%s opens its metrics to the machine", s.Name)
				}
			}
			if !secured {
				continue
			}
			set("INSECURE", "false")
			set("AUTH", "on")
			for _, name := range []string{"TLS_CERT", "TLS_KEY"} {
				path := s.Environment[name]
				if path == nil || !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return *path == "/run/secrets/"+c.Source }) {
					t.Errorf("%s has no file for %s", s.Name, name)
				}
			}
		}
		if len(targets) != 4 || !p.Networks["inner"].Internal {
			t.Errorf("the targets are %q, and the network inside is %+v", targets, p.Networks["inner"])
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
