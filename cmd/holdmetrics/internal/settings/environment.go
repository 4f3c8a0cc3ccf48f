package settings

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// Getenv returns the value of an environment variable, or "" if it is not set.
type Getenv func(name string) string

// environmentKey is the key of an environment in a context.
type environmentKey struct{}

// environment is what a command reads its variables from.
type environment struct {
	real Getenv
	file dotEnv
}

// WithEnvironment returns a context whose commands read their environment by getenv,
// and not from the process.
func WithEnvironment(ctx context.Context, getenv Getenv) context.Context {
	return context.WithValue(ctx, environmentKey{}, environment{real: getenv})
}

// UseDotEnv lets a command read the variables that its environment does not set from
// the file that DOTENV names, or else from .env of the working directory. A missing
// file is an error only if DOTENV names it.
func UseDotEnv(c *cobra.Command) error {
	env := environmentOf(c)
	file, err := readDotEnv(env.real)
	if err != nil {
		return err
	}
	c.SetContext(context.WithValue(c.Context(), environmentKey{}, environment{env.real, file}))
	return nil
}

// EnvironmentOf returns what a command reads its environment by: that of its context,
// or of the process, with the file of [UseDotEnv] beneath it.
func EnvironmentOf(c *cobra.Command) Getenv {
	env := environmentOf(c)
	return env.file.under(env.real)
}

func environmentOf(c *cobra.Command) environment {
	if ctx := c.Context(); ctx != nil {
		if env, ok := ctx.Value(environmentKey{}).(environment); ok {
			return env
		}
	}
	return environment{real: os.Getenv}
}

// source returns the name of a variable that is set, and the file if that sets it.
func (e environment) source(name string) string {
	if e.real(name) == "" && e.file.values[name] != "" {
		return name + " of " + e.file.path
	}
	return name
}

// RuntimeDir returns the directory for what programs of this user leave for one another,
// or "" if there is none.
func RuntimeDir(getenv Getenv) string {
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache")
	}
	return ""
}
