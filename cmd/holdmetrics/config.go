package main

import (
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config [serve|gateway|worker]",
		Short: "Show the settings in force and their sources",
		Long: `Config shows what serve, gateway or worker would run with, and whether a value is
the default, or of the file, the environment or a flag: flags beat the
environment, which beats the file (--config), which beats the default. Variables
that the environment does not set are read from .env of the working directory, or
from the file that DOTENV names. Passwords are not shown. Without a name it shows the settings of all three.`,
		Example: `  holdmetrics config worker
  holdmetrics config gateway --config /etc/holdmetrics.yaml`,
		ValidArgs: slices.Sorted(maps.Keys(settings.Roles)),
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
	}
	c.Flags().AddFlagSet(settings.All())
	c.RunE = func(c *cobra.Command, args []string) error {
		getenv := settings.EnvironmentOf(c)
		l, err := settings.Load(c)
		if err != nil {
			return err
		}
		show := c.Flags()
		if len(args) > 0 {
			role := &cobra.Command{}
			settings.Roles[args[0]](role)
			show = role.Flags()
			if _, err := settings.Parse(l.Values, show); err != nil {
				return err
			}
		}
		out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "setting\tvalue\tfrom")
		for _, key := range slices.Sorted(maps.Keys(l.From)) {
			if show.Lookup(key) == nil || key == "help" {
				continue
			}
			value := l.Values.String(key)
			if key == settings.KeyConfig && value == "" {
				value = getenv(settings.EnvConfig)
			}
			fmt.Fprintf(out, "%s\t%s\t%s\n", key, settings.Shown(key, value), l.From[key])
		}
		return out.Flush()
	}
	return c
}
