package settings

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// Names outside the settings themselves.
const (
	KeyConfig = "config"
	EnvConfig = "HOLDMETRICS_CONFIG"

	FromDefault = "default"
)

// Layers are the values of all settings, with the source of each.
type Layers struct {
	Values *koanf.Koanf
	From   map[string]string // where each value came from, by key
}

// Load reads the settings that a command has flags for: defaults, then the file, then
// the environment, then the flags that were given. An empty variable is not set.
func Load(c *cobra.Command) (*Layers, error) {
	flags, env, getenv := c.Flags(), environmentOf(c), EnvironmentOf(c)
	l := &Layers{Values: koanf.New(""), From: map[string]string{}}
	defaults := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) { defaults[f.Name] = f.DefValue })
	if err := l.put(defaults, func(string) string { return FromDefault }); err != nil {
		return nil, err
	}
	if err := l.readFile(flags, getenv); err != nil {
		return nil, err
	}
	set, names := map[string]any{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(Environment)) {
		key := Environment[name]
		if flags.Lookup(key) == nil {
			continue
		}
		value, source, err := withFile(getenv, name)
		if err != nil {
			return nil, err
		}
		if value == "" {
			continue
		}
		if old, twice := set[key]; twice && old != value {
			return nil, usage.Errorf("%s and %s are both set, to different values; set one of them", names[key], name)
		}
		set[key], names[key] = value, env.source(source)
	}
	hostAndPort(flags, env, KeyHTTP, "HTTP_HOST", "HTTP_PORT", set, names)
	hostAndPort(flags, env, KeyMetrics, "", "PROMETHEUS_PORT", set, names)
	if err := l.put(set, func(key string) string { return names[key] }); err != nil {
		return nil, err
	}
	given, open := map[string]any{}, ""
	flags.Visit(func(f *pflag.Flag) {
		given[f.Name] = f.Value.String()
		if isSecret(f.Name) {
			open = f.Name
		}
	})
	if open != "" {
		name := Variables(open)[0]
		return nil, usage.Errorf("--%s: every user of this machine sees the arguments of a process: set %s to the path of a file with it, or set %s", open, name+fileSuffix, name)
	}
	if err := l.put(given, func(key string) string { return "--" + key }); err != nil {
		return nil, err
	}
	return l, nil
}

// Given returns the settings of a command that are not the defaults, as they may be
// shown: a value that may have a password in it is masked.
func Given(c *cobra.Command) (map[string]string, error) {
	l, err := Load(c)
	if err != nil {
		return nil, err
	}
	given := map[string]string{}
	for key, from := range l.From {
		if value := l.Values.String(key); from != FromDefault && key != KeyConfig {
			given[key] = Shown(key, value)
		}
	}
	return given, nil
}

// hostAndPort puts an address together from two variables, either of which may be absent.
func hostAndPort(flags *pflag.FlagSet, env environment, key, hostName, portName string, set map[string]any, names map[string]string) {
	f := flags.Lookup(key)
	if f == nil {
		return
	}
	defaultHost, defaultPort, err := net.SplitHostPort(f.DefValue)
	if err != nil { // nothing listens by default
		defaultHost = "127.0.0.1"
	}
	getenv := env.file.under(env.real)
	host, port := "", getenv(portName)
	if hostName != "" {
		host = getenv(hostName)
	}
	var from []string
	if host == "" {
		host = defaultHost
	} else {
		from = append(from, env.source(hostName))
	}
	if port == "" {
		port = defaultPort
	} else {
		from = append(from, env.source(portName))
	}
	if len(from) > 0 {
		set[key], names[key] = net.JoinHostPort(strings.Trim(host, "[]"), port), strings.Join(from, ", ")
	}
}

// readFile lays the file over the defaults. A key that no command knows is a slip
// of the pen; one that another command knows may stand in a file for all of them.
func (l *Layers) readFile(flags *pflag.FlagSet, getenv Getenv) error {
	f := flags.Lookup(KeyConfig)
	if f == nil {
		return nil
	}
	path := f.Value.String()
	if path == "" {
		path = getenv(EnvConfig)
	}
	if path == "" {
		return nil
	}
	read := koanf.New("\x00") // a key with dots in it is one that nobody knows, not a path
	if err := read.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fmt.Errorf("the settings in %s cannot be read: %w", path, err)
	}
	known := All()
	set := map[string]any{}
	for key, value := range read.Raw() {
		if known.Lookup(key) == nil || key == KeyConfig {
			return usage.Errorf("%s: %q is no setting ('holdmetrics config' lists them)", path, key)
		}
		switch value.(type) {
		case map[string]any, []any, nil:
			return usage.Errorf("%s: %s is to be one value", path, key)
		}
		if flags.Lookup(key) != nil {
			set[key] = fmt.Sprint(value)
		}
	}
	l.From[KeyConfig] = path
	return l.put(set, func(string) string { return path })
}

func (l *Layers) put(values map[string]any, from func(key string) string) error {
	for key := range values {
		l.From[key] = from(key)
	}
	return l.Values.Load(confmap.Provider(values, ""), nil)
}
