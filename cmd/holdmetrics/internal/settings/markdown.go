package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run ./document ../../../../docs/settings.md

// fileNames are the variables that name files of settings.
var fileNames = map[string]string{EnvConfig: KeyConfig}

// composed are the variables that are parts of a setting.
var composed = map[string][]string{KeyHTTP: {"HTTP_HOST", "HTTP_PORT"}, KeyMetrics: {"PROMETHEUS_PORT"}}

// Variables returns the environment variables of a setting, sorted.
func Variables(key string) []string {
	names := slices.Clone(composed[key])
	for name, of := range Environment {
		if of == key {
			names = append(names, name)
		}
	}
	for name, of := range fileNames {
		if of == key {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fileVariables returns the environment variables that name files with the value of a
// setting, sorted.
func fileVariables() (names []string) {
	for name, key := range Environment {
		if mayBeFile(key) {
			names = append(names, name+fileSuffix)
		}
	}
	slices.Sort(names)
	return names
}

// Markdown returns docs/settings.md: every setting of serve, gateway and worker.
func Markdown() string {
	commands := slices.Sorted(maps.Keys(Roles))
	uses := map[string][]string{}
	for _, name := range commands {
		c := &cobra.Command{}
		Roles[name](c)
		c.Flags().VisitAll(func(f *pflag.Flag) { uses[f.Name] = append(uses[f.Name], name) })
	}
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Written by 'make generate' from cmd/holdmetrics/internal/settings. Do not edit. -->

These are the settings of ` + "`holdmetrics serve`, `gateway` and `worker`" + `. Each is a flag, an
environment variable, and a line of a YAML file (` + "`--config`" + `) with the name of the flag.
A flag beats the environment, which beats the file, which beats the default.

Variables that the environment does not set, or sets to nothing, are read from ` + "`.env`" + ` of the
working directory, or from the file that ` + "`DOTENV`" + ` names. Its lines are NAME=VALUE. Unquoted, a
` + "`#`" + ` begins a comment. Nothing is expanded: a ` + "`$`" + ` stands for itself.

` + "`holdmetrics config [serve|gateway|worker]`" + ` shows the settings in force and the source of
each. Passwords are masked. Lengths of time are written as ` + "`30s`, `5m` or `8760h`" + `, or in
whole seconds.

| flag | variables | default | used by | meaning |
| --- | --- | --- | --- | --- |
`)
	All().VisitAll(func(f *pflag.Flag) {
		usage := f.Usage
		if _, unquoted := pflag.UnquoteUsage(f); unquoted != "" {
			usage = unquoted
		}
		if i := strings.LastIndex(usage, " ("); i > 0 && strings.HasSuffix(usage, ")") && namesVariable(usage[i:], Variables(f.Name)) {
			usage = strings.TrimSpace(usage[:i]) + defaultIn(usage[i:])
		}
		variables := ""
		if names := Variables(f.Name); len(names) > 0 {
			variables = "`" + strings.Join(names, "`, `") + "`"
		}
		value := ""
		if f.DefValue != "" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", f.Name, variables, value, strings.Join(uses[f.Name], ", "), strings.ReplaceAll(usage, "|", `\|`))
	})
	fmt.Fprintf(&b, "\nA value that may have a password in it can stand in a file of one line, which one of these variables names:\n`%s`.\n", strings.Join(fileVariables(), "`, `"))
	b.WriteString("\nThese well-known variables have no effect. A command that finds one set names it in a warning:\n\n")
	for _, name := range commands {
		fmt.Fprintf(&b, "- `%s`: `%s`\n", name, strings.Join(Unused[name], "`, `"))
	}
	return b.String()
}

// namesVariable reports whether the end of a usage text names one of the variables,
// which have a column of their own.
func namesVariable(text string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) })
}

// defaultIn returns "; default: ..." of the end of a usage text, or "".
func defaultIn(text string) string {
	i := strings.Index(text, "; default")
	if i < 0 {
		return ""
	}
	return strings.TrimSuffix(text[i:], ")")
}
