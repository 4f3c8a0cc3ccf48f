package settings

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

// Getenv returns the value of an environment variable, or "" if it is not set.
type Getenv func(name string) string

// environmentKey is the key of a Getenv in a context.
type environmentKey struct{}

// WithEnvironment returns a context whose commands read their environment by getenv,
// and not from the process.
func WithEnvironment(ctx context.Context, getenv Getenv) context.Context {
	return context.WithValue(ctx, environmentKey{}, getenv)
}

// EnvironmentOf returns what a command reads its environment by: that of its context,
// or of the process.
func EnvironmentOf(c *cobra.Command) Getenv {
	if ctx := c.Context(); ctx != nil {
		if getenv, ok := ctx.Value(environmentKey{}).(Getenv); ok {
			return getenv
		}
	}
	return os.Getenv
}
