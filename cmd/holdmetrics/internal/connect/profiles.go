package connect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/internal/wholefile"
)

// DefaultProfile is the name of the profile of those who name none.
const DefaultProfile = "default"

// envProfiles is the variable that names the file of profiles.
const envProfiles = "HOLDMETRICS_PROFILES"

// Profile is a server, and how it is called.
type Profile struct {
	Server   string `yaml:"server"`
	CA       string `yaml:"tls-ca,omitempty"`   // file of the authorities that the server is known by; empty: the system's
	Cert     string `yaml:"tls-cert,omitempty"` // files of a certificate for mutual TLS
	Key      string `yaml:"tls-key,omitempty"`
	Token    string `yaml:"token,omitempty"`
	Insecure bool   `yaml:"insecure,omitempty"` // without TLS, though it is on another machine
}

// Profiles are what 'holdmetrics login' has kept.
type Profiles struct {
	Profiles map[string]Profile `yaml:"profiles"`

	path string // of the file; empty: there is no place for it
}

// profilesPath returns the path of the file of profiles, or "" if there is no home
// directory to keep it in.
func profilesPath(c *cobra.Command) string {
	getenv := settings.EnvironmentOf(c)
	if path := getenv(envProfiles); path != "" {
		return path
	}
	for _, base := range []string{getenv("XDG_CONFIG_HOME"), getenv("AppData")} {
		if base != "" {
			return filepath.Join(base, "holdmetrics", "profiles.yaml")
		}
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "holdmetrics", "profiles.yaml")
	}
	return ""
}

// ReadProfiles reads the profiles of the user. That there are none is no error.
func ReadProfiles(c *cobra.Command) (*Profiles, error) {
	p := &Profiles{Profiles: map[string]Profile{}, path: profilesPath(c)}
	if p.path == "" {
		return p, nil
	}
	info, err := os.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the profiles cannot be read: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, usage.Errorf("other users may read or write %s, which has keys in it: run 'chmod 600' on it, and replace the keys if others could read them", p.path)
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("the profiles cannot be read: %w", err)
	}
	read := yaml.NewDecoder(bytes.NewReader(text))
	read.KnownFields(true)
	// The error would quote the file, which has keys in it.
	if read.Decode(p) != nil {
		return nil, usage.Errorf("the profiles in %s cannot be read: mend the file, or remove it and log in again", p.path)
	}
	if p.Profiles == nil {
		p.Profiles = map[string]Profile{}
	}
	return p, nil
}

// Path returns the path of the file of profiles, or "" if there is no place for it.
func (p *Profiles) Path() string { return p.path }

// Save writes the file, which only this user may read. Who reads it meanwhile sees the
// former one.
func (p *Profiles) Save() error {
	if p.path == "" {
		return usage.Errorf("there is no home directory to keep profiles in: name a file with %s", envProfiles)
	}
	text, err := yaml.Marshal(p)
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the profiles cannot be kept: %w", err)
	}
	if err := wholefile.Replace(p.path, text); err != nil {
		return fmt.Errorf("the profiles cannot be kept: %w", err)
	}
	return nil
}
